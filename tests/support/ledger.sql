-- A ledger as fold, cut, claim and settle would have written it, in few statements: orgs x two metrics x hours up to a
-- fixed time, a remittance each; the busy orgs use something every hour, the others seldom. Every fourth thousandth is
-- refused, unknown, in conflict or held; the last hours are in flight, due and open. Triggers are left out: the rows are
-- what they write. The balance closes.
set session_replication_role = replica;
alter table postmeter.outbox disable trigger arrived;
set synchronous_commit = off;
set work_mem = '256MB';
update postmeter.setting set purpose = 'test', clock_frozen = '{until}';

create function pg_temp.id_of(moment timestamptz) returns uuid language sql volatile as $$
    select encode(set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid())
                placing substring(int8send((extract(epoch from moment) * 1000)::bigint) from 3) from 1 for 6),
        52, 1), 53, 1), 'hex')::uuid
$$;

-- partitions of the months of that time
do $$
declare
    parent text;
    month  timestamptz;
begin
    for month in select generate_series(date_trunc('month', '{until}'::timestamptz - {hours} * interval '1 hour', 'UTC'),
                                        '{until}'::timestamptz, interval '1 month') loop
        foreach parent in array array['usage', 'allocation', 'attempt', 'outcome'] loop
            execute format('create table postmeter.%I partition of postmeter.%I for values from (%L) to (%L)',
                parent || to_char(month at time zone 'UTC', '_YYYYMM'), parent, postmeter.id_at(month),
                postmeter.id_at(date_trunc('month', month + interval '40 days', 'UTC')));
        end loop;
    end loop;
end
$$;

insert into postmeter.quota (name) values ('aws'), ('aws-eu'), ('aws-asia');
insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max)
select q.name, 'aws', '{"region": "us-east-1"}', q.id, '24 hours', '6 hours', '1 hour', 25, 900000 from postmeter.quota q order by q.id;
insert into postmeter.dimension (destination_id, product, metric, name, valid_from, unit_price, currency)
select t.id, 'db', m.metric, m.metric, '2020-01-01', m.price, m.currency
from postmeter.destination t, (values ('cores', 0.05, 'USD'), ('gb', null, null)) m(metric, price, currency);
insert into postmeter.subscription (org, product, destination_id, identity, buyer, buyer_account, identity_form, valid_from)
select 'org-' || n, 'db', t.id, jsonb_build_object('product_code', 'prod9', 'customer_aws_account_id', lpad(n::text, 12, '0')),
       'aws/us-east-1/prod9/' || lpad(n::text, 12, '0'), lpad(n::text, 12, '0'), 'product_account', '2020-01-01'
from generate_series(1, {orgs}) n
join postmeter.destination t on t.name = (array['aws', 'aws', 'aws-eu', 'aws-asia'])[1 + n % 4];
insert into postmeter.exemption (org, reason) values ('ours', 'our own staging');
insert into postmeter.worker (id, name, version, started_at, heartbeat_at, lease, lease_until, oldest_attempt)
select md5('worker ' || n)::uuid, 'worker-' || n, '0', '{until}'::timestamptz - interval '100 days', '{until}', '20 seconds',
       '{until}'::timestamptz + interval '20 seconds', postmeter.id_at('{until}'::timestamptz - interval '10 minutes')
from generate_series(1, 4) n;

create temp table made as
select (h.n * {orgs} + o.n - 1) * 2 + m.n as id, o.n as org, m.metric, h.hour,
       date_trunc('month', h.hour at time zone 'UTC')::date as month,
       case when h.n = {hours} - 1 then 'open' when h.n = {hours} - 2 then 'due'
            when h.n = {hours} - 3 and o.n <= 25 then 'in_flight'
            else coalesce((array['rejected', 'unknown', 'conflict', 'held'])[
                ((h.n * {orgs} + o.n - 1) * 2 + m.n) % 4000 - 6], 'accepted') end as status
from (select n, '{until}'::timestamptz - ({hours} - n) * interval '1 hour' as hour from generate_series(0, {hours} - 1) n) h,
     generate_series(1, {orgs}) o(n), (values (1, 'cores'), (2, 'gb')) m(n, metric)
where o.n <= {busy} or (h.n + o.n) % {every} = 0
order by 1;
analyze made;
create temp table given as
select m.id, m.org, m.metric, m.hour, m.status, pg_temp.id_of(m.hour + u.k * interval '7 minutes') as usage_id,
       'e-' || m.id || '-' || u.k as event_id, (1 + (m.id + u.k) % 7)::numeric as quantity
from made m, generate_series(1, {usages}) u(k);
create temp table used as select id, sum(quantity) as used from given group by 1;
analyze given;
analyze used;
analyze postmeter.subscription;

insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, attributes, recorded_at)
select usage_id, 'bench', event_id, 'org-' || org, 'db', metric, quantity, hour + interval '7 minutes', '{}', hour + interval '8 minutes'
from given;
insert into postmeter.usage_identity (source, event_id, usage_id)
select 'bench', event_id, usage_id from given;
insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
select s.destination_id, s.buyer, d.metric, m.month, 'up', 0, 'round_up'
from postmeter.subscription s, (values ('cores'), ('gb')) d(metric), (select distinct month from made) m;
insert into postmeter.meter_metric (meter_id, product, metric, factor_numerator, factor_denominator)
select id, 'db', dimension, 1, 1 from postmeter.meter;
analyze postmeter.meter;
analyze postmeter.meter_metric;
insert into postmeter.delivery (id, destination_id, key, meter_id, hour, identity, product, status, reason, maybe_billed, maybe_since,
    confirmed, deadline, round, quantity, body, batch_group, idempotency_key, tries, attempts, attempt_id, shown_quantity,
    opened_at, cut_at, changed_at)
overriding system value
select m.id, t.id, t.name || '/' || s.buyer || '/' || m.metric || '/' || m.hour, r.id, m.hour, s.identity, 'db', m.status,
       case when m.status = 'held' then 'unrecognised_answer' end, m.status = 'unknown',
       case when m.status = 'unknown' then m.hour + interval '70 minutes' end, case when m.status = 'accepted' then true end,
       m.hour + interval '1 day', case when m.status = 'open' then 0 else 1 end, c.used, c.body, c.batch_group, c.key,
       case when m.status in ('open', 'due') then 0 else {tries} end, case when m.status in ('open', 'due') then 0 else {tries} end,
       case when m.status = 'in_flight' then pg_temp.id_of('{until}'::timestamptz - interval '1 minute') end,
       case when m.status = 'conflict' then c.used - 1 end,
       m.hour + interval '8 minutes', case when m.status <> 'open' then m.hour + interval '65 minutes' end, m.hour + interval '90 minutes'
from made m
join used u on u.id = m.id
join postmeter.subscription s on s.org = 'org-' || m.org
join postmeter.destination t on t.id = s.destination_id
join postmeter.meter r on r.destination_id = t.id and r.buyer = s.buyer and r.dimension = m.metric and r.month = m.month
left join lateral (
    select u.used, format('{"Timestamp":%s,"CustomerAWSAccountId":"%s","Dimension":"%s","Quantity":%s}',
                          extract(epoch from m.hour)::bigint, s.buyer_account, m.metric, u.used) as body,
           'product:prod9' as batch_group, gen_random_uuid() as key
    where m.status <> 'open'
) c on true
order by m.id;
select setval(pg_get_serial_sequence('postmeter.delivery', 'id'), (select max(id) from made));
insert into postmeter.allocation (usage_id, destination_id, delivery_id, meter_metric_id, round, quantity, hour, subscription_id)
select g.usage_id, d.destination_id, d.id, mm.id, 0, g.quantity, g.hour, s.id
from given g
join postmeter.delivery d on d.id = g.id
join postmeter.meter_metric mm on mm.meter_id = d.meter_id
join postmeter.subscription s on s.org = 'org-' || g.org;
drop table given;
insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics, cut_at)
select x.id, x.meter_id, 0, 1, x.units, x.units - x.quantity, x.quantity, 0, false, '[]', x.cut_at
from (select d.id, d.meter_id, d.quantity, d.cut_at, sum(d.quantity) over (partition by d.meter_id order by d.hour) as units
      from postmeter.delivery d where d.status <> 'open') x
order by x.id;
update postmeter.meter_metric mm set used = x.used
from (select meter_id, sum(quantity) as used from postmeter.delivery where status <> 'open' group by 1) x where x.meter_id = mm.meter_id;
update postmeter.meter m set billed = mm.used, cuts = 1 from postmeter.meter_metric mm where mm.meter_id = m.id;

insert into postmeter.attempt (id, delivery_id, destination_id, call_id, worker_id, number, claimed_at)
select case when d.status = 'in_flight' and n.number = {tries} then d.attempt_id
            else pg_temp.id_of(d.hour + interval '70 minutes' + n.number * interval '3 minutes') end,
       d.id, d.destination_id, md5(n.number || ' ' || d.hour || ' ' || d.id / 25)::uuid, md5('worker ' || 1 + (d.id / 25) % 4)::uuid,
       n.number, d.hour + interval '70 minutes' + n.number * interval '3 minutes'
from postmeter.delivery d, generate_series(1, {tries}) n(number)
where d.status not in ('open', 'due');
insert into postmeter.outcome (attempt_id, outcome, code, is_try, shown_quantity, receipt, http_status, their_request_id, duration, recorded_at)
select a.id, x.outcome, x.code, x.outcome <> 'throttled', case when d.status = 'conflict' and a.number = {tries} then d.quantity - 1 end,
       case when x.outcome = 'accepted' then md5(a.id::text) end,
       case x.outcome when 'accepted' then 200 when 'throttled' then 429 when 'unknown' then null else 400 end,
       'req-' || left(a.call_id::text, 8), (50 + d.id % 200) * interval '1 millisecond', a.claimed_at + interval '1 second'
from postmeter.attempt a
join postmeter.delivery d on d.id = a.delivery_id
cross join lateral (
    select case when a.number < {tries} then 'throttled' when d.status = 'held' then 'unrecognised' else d.status end as outcome,
           case when a.number < {tries} then 'ThrottlingException' when d.status = 'unknown' then 'timeout'
                when d.status = 'rejected' then 'InvalidUsageDimensionException' end as code
) x
where d.status <> 'in_flight' or a.number < {tries};

insert into postmeter.open_hour (delivery_id, destination_id, hour) select id, destination_id, hour from postmeter.delivery where status = 'open';
insert into postmeter.due (delivery_id, destination_id, deadline) select id, destination_id, deadline from postmeter.delivery where status = 'due';
insert into postmeter.stuck (delivery_id, destination_id, status, since)
select id, destination_id, status, changed_at from postmeter.delivery where status in ('rejected', 'unknown', 'conflict', 'held');
insert into postmeter.decision (decided_at, who, why, verb, delivery_id, status_before, status_after, quantity)
select changed_at, 'mira', 'sent again', 'retry', id, 'rejected', 'due', quantity from postmeter.delivery where status = 'rejected';

-- what never became a remittance: held, exempt, waiting
create temp table further as
select pg_temp.id_of('{until}'::timestamptz - n * k.apart) as id, k.kind, n,
       case k.kind when 'held' then 'nobody-' || n % 50 when 'exempt' then 'ours' else 'org-' || 1 + n % {orgs} end as org,
       '{until}'::timestamptz - n * k.apart as used_at
from (values ('held', interval '3 minutes'), ('exempt', '3 minutes'), ('waiting', '0.5 seconds')) k(kind, apart), generate_series(1, {further}) n
where k.kind <> 'waiting' or n <= {further} / 5;
insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, attributes, recorded_at)
select id, 'bench', kind || '-' || n, org, 'db', 'cores', 1, used_at, '{}', used_at from further;
insert into postmeter.usage_identity (source, event_id, usage_id) select 'bench', kind || '-' || n, id from further;
insert into postmeter.held (usage_id, reason, org, product, metric, quantity, hour, held_at)
select id, 'no_subscription', org, 'db', 'cores', 1, postmeter.hour_of(used_at), used_at from further where kind = 'held';
insert into postmeter.exempted (usage_id, exemption_id) select f.id, e.id from further f, postmeter.exemption e where f.kind = 'exempt';
insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at)
select id, 'bench', kind || '-' || n, org, 'db', 'cores', 1, used_at from further where kind = 'waiting';
drop table made, used, further;
alter table postmeter.outbox enable always trigger arrived;
reset session_replication_role;
reset synchronous_commit;
reset work_mem;
