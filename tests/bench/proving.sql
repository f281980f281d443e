-- part: the catalogue. A ledger as fold, cut and settle would have written it, an hour at a time. Triggers are left out.
set synchronous_commit = off;
set session_replication_role = replica;
create or replace function public.id_of(moment timestamptz) returns uuid language sql volatile as $$
    select encode(set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid())
                placing substring(int8send((extract(epoch from moment) * 1000)::bigint) from 3) from 1 for 6),
        52, 1), 53, 1), 'hex')::uuid
$$;
do $$
declare
    parent text;
begin
    foreach parent in array array['usage', 'allocation', 'attempt', 'outcome'] loop
        execute format('create table postmeter.%I partition of postmeter.%I for values from (%L) to (%L)', parent || '_202409', parent,
                       postmeter.id_at('2024-09-01Z'), postmeter.id_at('2024-10-01Z'));
    end loop;
end
$$;
insert into postmeter.quota (name) values ('aws');
insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max)
select 'aws', 'aws', '{"region": "us-east-1"}', q.id, '24 hours', '6 hours', '1 hour', 25, 900000 from postmeter.quota q;
insert into postmeter.subscription (org, product, destination_id, identity, buyer, buyer_account, identity_form, valid_from)
select 'org-' || n, 'db', t.id, jsonb_build_object('product_code', 'prod9', 'customer_aws_account_id', lpad(n::text, 12, '0')),
       'aws/us-east-1/prod9/' || lpad(n::text, 12, '0'), lpad(n::text, 12, '0'), 'product_account', '2020-01-01'
from generate_series(1, {meters}) n, postmeter.destination t;
insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
select s.destination_id, s.buyer, 'cores', '2024-09-01', 'up', 0, 'round_up' from postmeter.subscription s order by s.id;
insert into postmeter.meter_metric (meter_id, product, metric, factor_numerator, factor_denominator) select id, 'db', 'cores', 1, 1 from postmeter.meter order by id;
reset session_replication_role;

-- part: one hour of the ledger
set session_replication_role = replica;
insert into postmeter.delivery (id, destination_id, key, meter_id, hour, identity, product, status, confirmed, deadline, round, quantity, body,
    batch_group, idempotency_key, tries, attempts, opened_at, cut_at, changed_at)
overriding system value
select {hour} * {meters} + n, m.destination_id, m.buyer || '/' || h.hour, m.id, h.hour, s.identity, 'db', 'accepted', true, h.hour + interval '1 day', 1,
       {usages}, '{}', 'product:prod9', gen_random_uuid(), 1, 1, h.hour, h.hour + interval '65 minutes', h.hour + interval '70 minutes'
from (select '2024-09-01Z'::timestamptz + {hour} * interval '1 hour' as hour) h, generate_series(1, {meters}) n
join postmeter.meter m on m.id = n
join postmeter.subscription s on s.id = n;
with given as materialized (
    select n, public.id_of(h.hour + k * interval '100 seconds') as id, h.hour
    from (select '2024-09-01Z'::timestamptz + {hour} * interval '1 hour' as hour) h, generate_series(1, {usages}) k, generate_series(1, {meters}) n
    order by k, n
), used as (
    insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, attributes, recorded_at)
    select g.id, 'bench', g.id::text, 'org-' || g.n, 'db', 'cores', 1, g.hour, '{}', g.hour from given g
)
insert into postmeter.allocation (usage_id, destination_id, delivery_id, meter_metric_id, round, quantity, hour, subscription_id)
select g.id, 1, {hour} * {meters} + g.n, g.n, 0, 1, g.hour, g.n from given g;
insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics, cut_at)
select {hour} * {meters} + n, n, 0, 1, ({hour} + 1) * {usages}, {hour} * {usages}, {usages}, 0, false, '[]', '2024-09-01Z'
from generate_series(1, {meters}) n;
reset session_replication_role;

-- part: the sums
set session_replication_role = replica;
select setval(pg_get_serial_sequence('postmeter.delivery', 'id'), (select max(id) from postmeter.delivery));
update postmeter.meter_metric set used = {hours} * {usages};
update postmeter.meter set billed = {hours} * {usages}, cuts = {hours};
reset session_replication_role;
select postmeter.prove_balance_anew();
-- part: the last hour as its writers say that they wrote it
-- an hour
insert into postmeter.balance_moved (meter_id, delivery_id) select n, ({hours} - 1) * {meters} + n from generate_series(1, {meters}) n;
insert into postmeter.usage_moved (slice)
select distinct left(postmeter.id_at('2024-09-01Z'::timestamptz + ({hours} - 1) * interval '1 hour' + s * interval '20 seconds')::text, 8) from generate_series(0, 180) s;
