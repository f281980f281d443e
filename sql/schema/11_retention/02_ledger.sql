-- Months of the ledger: what is in them and how they are exported.

create table postmeter.ledger_export (
    month       date             primary key check (extract(day from month) = 1),
    number      integer          not null unique check (number > 0),
    manifest    text             not null,
    digest      text collate "C" not null unique check (digest ~ '^[0-9a-f]{64}$'),
    exported_at timestamptz      not null default postmeter.clock(),
    decision_id bigint           not null
);
comment on table postmeter.ledger_export is
    'Months of the ledger that were exported: the manifest to the letter, and its digest. Append-only.';
comment on column postmeter.ledger_export.month is
    'First day of the calendar month (UTC) in which the rows were recorded.';
comment on column postmeter.ledger_export.number is
    'Which export this is, from 1: each manifest names the one before, so that none can be taken out.';
comment on column postmeter.ledger_export.manifest is
    'The manifest as it was written: counts, sums, digests (docs/operate/ledger.md).';
comment on column postmeter.ledger_export.digest is 'SHA-256 of the manifest.';
comment on column postmeter.ledger_export.exported_at is 'When it was recorded.';
comment on column postmeter.ledger_export.decision_id is 'The decision: who and why.';
create trigger append_only before delete or update or truncate on postmeter.ledger_export
    for each statement execute function postmeter.forbid_change();

create table postmeter.ledger_drop (
    month       date        primary key,
    dropped_at  timestamptz not null default postmeter.clock(),
    decision_id bigint      not null,
    used_from   timestamptz,
    used_until  timestamptz
);
comment on table postmeter.ledger_drop is 'Months of the ledger that were dropped after their export. Append-only.';
comment on column postmeter.ledger_drop.month is 'First day of the month.';
comment on column postmeter.ledger_drop.dropped_at is 'When.';
comment on column postmeter.ledger_drop.decision_id is 'The decision: who and why.';
comment on column postmeter.ledger_drop.used_from is 'The earliest use in it; null: it had no usage.';
comment on column postmeter.ledger_drop.used_until is 'The latest use in it.';
create trigger append_only before delete or update or truncate on postmeter.ledger_drop
    for each statement execute function postmeter.forbid_change();

create table postmeter.ledger_carry (
    month           date        not null,
    place           text        not null check (place in ('recorded', 'exempt', 'written_off', 'allocated')),
    org             text        not null,
    product         text        not null,
    metric          text        not null,
    meter_metric_id bigint,
    destination_id  integer,
    delivery_id     bigint,
    subscription_id bigint,
    hour            timestamptz,
    usages          bigint      not null,
    quantity        numeric     not null,
    constraint ledger_carry_check
        check ((num_nonnulls(meter_metric_id, destination_id, delivery_id, subscription_id, hour) =
case
    when place = 'allocated' then 5
    else 0
end) or (place = 'allocated' and destination_id is not null
    and (num_nonnulls(meter_metric_id, delivery_id, subscription_id, hour) = 0)))
);
create index ledger_carry_by_metric on postmeter.ledger_carry (meter_metric_id) where meter_metric_id is not null;
create index ledger_carry_by_delivery on postmeter.ledger_carry (delivery_id) where delivery_id is not null;
create index ledger_carry_by_org on postmeter.ledger_carry (org, hour) where hour is not null;
comment on table postmeter.ledger_carry is
    'What a dropped month of the ledger came to, of allocations per remittance, subscription, metric and hour: the '
    'balances and summaries add it, and say what they said before. Of remittances that were dropped, too, per org, '
    'metric and destination. Append-only.';
comment on column postmeter.ledger_carry.month is 'The dropped month.';
comment on column postmeter.ledger_carry.place is
    'recorded (all usage), and where it was: exempt, written_off or allocated.';
comment on column postmeter.ledger_carry.org is 'The org.';
comment on column postmeter.ledger_carry.product is 'The product.';
comment on column postmeter.ledger_carry.metric is 'The metric.';
comment on column postmeter.ledger_carry.meter_metric_id is
    'The meter and metric it was counted on, of what was allocated; null: its meter was dropped, and delivery_id, '
    'subscription_id and hour with it.';
comment on column postmeter.ledger_carry.destination_id is 'Its destination, live or a shadow.';
comment on column postmeter.ledger_carry.delivery_id is 'The remittance that counted it.';
comment on column postmeter.ledger_carry.subscription_id is 'The subscription that matched.';
comment on column postmeter.ledger_carry.hour is 'Its own hour.';
comment on column postmeter.ledger_carry.usages is 'How many usages.';
comment on column postmeter.ledger_carry.quantity is 'How much, in units of the metric.';
create trigger append_only before delete or update or truncate on postmeter.ledger_carry
    for each statement
    when (current_setting('postmeter.drops_remittances', true) is distinct from 'on')
    execute function postmeter.forbid_change();

create function postmeter.ledger_span(month date, out first_id uuid, out until_id uuid) returns record
language sql stable parallel safe
begin atomic
select postmeter.id_at(month::timestamp at time zone 'UTC'),
           postmeter.id_at((month + interval '1 month')::timestamp at time zone 'UTC');
end;
comment on function postmeter.ledger_span(date) is
    'The ids of a month of the ledger: from the first on, and before until_id.';

create function postmeter.ledger_key(parent text) returns text
language sql immutable parallel safe
begin atomic
select case parent when 'allocation' then 'usage_id' when 'outcome' then 'attempt_id' else 'id' end;
end;
comment on function postmeter.ledger_key(text) is 'The column by which a table of the ledger is partitioned.';

create function postmeter.ledger_meters(month date) returns setof bigint
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with ids as materialized (select * from postmeter.ledger_span(ledger_meters.month))
    select mm.meter_id from ids, postmeter.allocation a join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    where a.usage_id >= ids.first_id and a.usage_id < ids.until_id
    union
    select d.meter_id from ids, postmeter.attempt x join postmeter.delivery d on d.id = x.delivery_id
    where x.id >= ids.first_id and x.id < ids.until_id
$$;
comment on function postmeter.ledger_meters(date) is
    'The meters that a month of the ledger is about: of its usage, and of what was attempted in it.';

create function postmeter.ledger_closings(month date)
returns table (destination text, billing_month date, decision_id bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select t.name, m.month, c.decision_id
    from postmeter.ledger_meters(ledger_closings.month) k(meter_id)
    join postmeter.meter m on m.id = k.meter_id
    join postmeter.destination t on t.id = m.destination_id and t.shadow_of is null
    left join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
    group by 1, 2, 3 order by 2, 1
$$;
comment on function postmeter.ledger_closings(date) is
    'The billing months of live destinations that a month of the ledger is about, and the decisions that closed '
    'them; null: not closed.';

create function postmeter.ledger_time(moment timestamptz) returns text
language sql stable parallel safe
begin atomic
select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
end;
comment on function postmeter.ledger_time(timestamptz) is
    'A moment as the export writes it: UTC, microseconds, whatever the session says.';

create function postmeter.ledger_line(u postmeter.usage) returns text
language sql stable parallel safe
begin atomic
select json_build_object(
        'id', u.id, 'source', u.source, 'event_id', u.event_id, 'org', u.org, 'product', u.product,
        'metric', u.metric, 'quantity', u.quantity::text, 'used_at', postmeter.ledger_time(u.used_at),
        'account', u.account, 'corrects', u.corrects, 'corrected_identity', u.corrected_identity,
        'request_id', u.request_id, 'traceparent', u.traceparent, 'attributes', u.attributes,
        'recorded_at', postmeter.ledger_time(u.recorded_at)
    )::text;
end;
comment on function postmeter.ledger_line(postmeter.usage) is
    'A usage as the export writes it: every column, the quantity as text, to the letter.';

create function postmeter.ledger_line(a postmeter.allocation) returns text
language sql stable parallel safe
begin atomic
select json_build_object(
        'usage_id', a.usage_id, 'destination_id', a.destination_id, 'delivery_id', a.delivery_id,
        'meter_metric_id', a.meter_metric_id, 'round', a.round, 'quantity', a.quantity::text,
        'hour', postmeter.ledger_time(a.hour), 'subscription_id', a.subscription_id
    )::text;
end;
comment on function postmeter.ledger_line(postmeter.allocation) is 'An allocation as the export writes it.';

create function postmeter.ledger_line(a postmeter.attempt) returns text
language sql stable parallel safe
begin atomic
select json_build_object(
        'id', a.id, 'delivery_id', a.delivery_id, 'destination_id', a.destination_id, 'call_id', a.call_id,
        'worker_id', a.worker_id, 'number', a.number, 'claimed_at', postmeter.ledger_time(a.claimed_at)
    )::text;
end;
comment on function postmeter.ledger_line(postmeter.attempt) is 'An attempt as the export writes it.';

create function postmeter.ledger_line(o postmeter.outcome) returns text
language sql stable parallel safe
begin atomic
select json_build_object(
        'attempt_id', o.attempt_id, 'outcome', o.outcome, 'code', o.code, 'is_try', o.is_try,
        'shown_quantity', o.shown_quantity::text, 'retry_after', extract(epoch from o.retry_after)::text,
        'receipt', o.receipt, 'http_status', o.http_status, 'their_request_id', o.their_request_id,
        'excerpt', o.excerpt, 'duration', extract(epoch from o.duration)::text,
        'recorded_at', postmeter.ledger_time(o.recorded_at)
    )::text;
end;
comment on function postmeter.ledger_line(postmeter.outcome) is
    'An outcome as the export writes it; spans of time in seconds.';

create function postmeter.ledger_heads(month date)
returns table (table_name text, rows bigint, chain text, sums jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
    with ids as materialized (select * from postmeter.ledger_span(ledger_heads.month))
    select 'usage', count(*), encode(postmeter.chain_of(l.line), 'hex'),
           jsonb_build_object('quantity', trim_scale(coalesce(sum(l.quantity), 0))::text)
    from (select postmeter.ledger_line(r) as line, r.quantity as quantity from postmeter.usage r
          where r.id >= (select first_id from ids) and r.id < (select until_id from ids) order by r.id) l
    union all
    select 'allocation', count(*), encode(postmeter.chain_of(l.line), 'hex'),
           jsonb_build_object('quantity', trim_scale(coalesce(sum(l.quantity), 0))::text)
    from (select postmeter.ledger_line(r) as line, r.quantity as quantity from postmeter.allocation r
          where r.usage_id >= (select first_id from ids) and r.usage_id < (select until_id from ids)
              order by r.usage_id, r.destination_id) l
    union all
    select 'attempt', count(*), encode(postmeter.chain_of(l.line), 'hex'), '{}'
    from (select postmeter.ledger_line(r) as line from postmeter.attempt r
          where r.id >= (select first_id from ids) and r.id < (select until_id from ids) order by r.id) l
    union all
    select 'outcome', count(*), encode(postmeter.chain_of(l.line), 'hex'),
           jsonb_build_object('shown_quantity', trim_scale(coalesce(sum(l.quantity), 0))::text)
    from (select postmeter.ledger_line(r) as line, r.shown_quantity as quantity from postmeter.outcome r
          where r.attempt_id >= (select first_id from ids) and r.attempt_id < (select until_id from ids)
              order by r.attempt_id) l
$$;
comment on function postmeter.ledger_heads(date) is
    'Rows of a month of the ledger, the heads of their hash chains, and their sums, as they are in the database '
    'now.';

create function postmeter.ledger_line(d postmeter.delivery) returns text
language sql stable parallel safe
begin atomic
select json_build_object('id', (d).id, 'destination_id', (d).destination_id, 'kind', (d).kind, 'key', (d).key,
        'meter_id', (d).meter_id,
        'hour', postmeter.ledger_time((d).hour), 'identity', (d).identity, 'product', (d).product, 'status',
            (d).status, 'reason', (d).reason,
        'maybe_billed', (d).maybe_billed, 'maybe_since', postmeter.ledger_time((d).maybe_since), 'confirmed',
            (d).confirmed,
        'deadline', postmeter.ledger_time((d).deadline), 'round', (d).round, 'releases', (d).releases, 'quantity',
            (d).quantity::text,
        'body', (d).body, 'batch_group', (d).batch_group, 'idempotency_key', (d).idempotency_key, 'batch_limit',
            (d).batch_limit,
        'tries', (d).tries, 'attempts', (d).attempts, 'deaths', (d).deaths, 'attempt_id', (d).attempt_id,
            'evidence_read', (d).evidence_read,
        'shown_quantity', (d).shown_quantity::text, 'shadow', (d).shadow, 'opened_at',
            postmeter.ledger_time((d).opened_at),
        'cut_at', postmeter.ledger_time((d).cut_at), 'changed_at', postmeter.ledger_time((d).changed_at))::text;
end;
comment on function postmeter.ledger_line(postmeter.delivery) is 'A remittance as the export writes it.';

create function postmeter.ledger_line(c postmeter.cut) returns text
language sql stable parallel safe
begin atomic
select json_build_object('delivery_id', (c).delivery_id, 'meter_id', (c).meter_id, 'round', (c).round,
        'denominator', (c).denominator::text,
        'units', (c).units::text, 'billed_before', (c).billed_before::text, 'to_bill', (c).to_bill::text, 'carried',
            (c).carried::text,
        'deferred', (c).deferred, 'metrics', (c).metrics, 'cut_at', postmeter.ledger_time((c).cut_at))::text;
end;
comment on function postmeter.ledger_line(postmeter.cut) is 'A cut as the export writes it.';

create function postmeter.ledger_line(p postmeter.part) returns text
language sql stable parallel safe
begin atomic
select json_build_object('delivery_id', (p).delivery_id, 'meter_id', (p).meter_id)::text;
end;
comment on function postmeter.ledger_line(postmeter.part) is 'A part as the export writes it.';

create function postmeter.ledger_line(m postmeter.meter) returns text
language sql stable parallel safe
begin atomic
select json_build_object('id', (m).id, 'destination_id', (m).destination_id, 'buyer', (m).buyer, 'dimension',
        (m).dimension,
        'month', (m).month, 'rounding', (m).rounding, 'decimals', (m).decimals, 'month_end', (m).month_end, 'billed',
            (m).billed::text,
        'carried', (m).carried::text, 'billable', (m).billable::text, 'denominator', (m).denominator::text, 'cuts',
            (m).cuts)::text;
end;
comment on function postmeter.ledger_line(postmeter.meter) is 'A meter as the export writes it.';

create function postmeter.ledger_line(m postmeter.meter_metric) returns text
language sql stable parallel safe
begin atomic
select json_build_object('id', (m).id, 'meter_id', (m).meter_id, 'product', (m).product, 'metric', (m).metric,
        'factor_numerator', (m).factor_numerator, 'factor_denominator', (m).factor_denominator, 'used', (m).used::text,
        'covered', (m).covered::text, 'usages', (m).usages)::text;
end;
comment on function postmeter.ledger_line(postmeter.meter_metric) is 'A metric of a meter as the export writes it.';

create function postmeter.ledger_line(x postmeter.exempted) returns text
language sql stable parallel safe
begin atomic
select json_build_object('usage_id', (x).usage_id, 'exemption_id', (x).exemption_id)::text;
end;
comment on function postmeter.ledger_line(postmeter.exempted) is 'What exempted a usage, as the export writes it.';

create function postmeter.ledger_line(x postmeter.usage_written_off) returns text
language sql stable parallel safe
begin atomic
select json_build_object('usage_id', (x).usage_id, 'decision_id', (x).decision_id)::text;
end;
comment on function postmeter.ledger_line(postmeter.usage_written_off) is
    'By which decision a usage was given up, as the export writes it.';
