-- 0019_pre_retention: months of the ledger: made ahead, healed after any pause, exported, and dropped as one when finished.
-- programs: from 0019
-- lock: access exclusive on balance, for a moment: a view is written anew
-- lock: access exclusive on setting, grows with its rows: a column with a check; it has one row
-- lock: access exclusive on usage_balance, for a moment: a view is written anew

alter table postmeter.setting add column ledger_retention interval;
-- squawk-ignore constraint-missing-not-valid
alter table postmeter.setting add constraint ledger_outlives_intake check (ledger_retention >= usage_age_max);
comment on column postmeter.setting.ledger_retention is 'Months of the ledger that ended longer ago than this may be dropped, once they are finished and exported. Null: everything is kept. Never shorter than usage_age_max.';

create table postmeter.ledger_export (
    month       date    not null primary key check (extract(day from month) = 1),
    number      integer not null unique check (number > 0),
    manifest    text    not null,
    digest      text    not null unique check (digest ~ '^[0-9a-f]{64}$'),
    exported_at timestamptz not null default postmeter.clock(),
    decision_id bigint  not null
);
comment on table postmeter.ledger_export is 'Months of the ledger that were exported: the manifest to the letter, and its digest. Append-only.';
comment on column postmeter.ledger_export.month is 'First day of the calendar month (UTC) in which the rows were recorded.';
comment on column postmeter.ledger_export.number is 'Which export this is, from 1: each manifest names the one before, so that none can be taken out.';
comment on column postmeter.ledger_export.manifest is 'The manifest as it was written: counts, sums, digests (docs/operate/ledger.md).';
comment on column postmeter.ledger_export.digest is 'SHA-256 of the manifest.';
comment on column postmeter.ledger_export.exported_at is 'When it was recorded.';
comment on column postmeter.ledger_export.decision_id is 'The decision: who and why.';
create trigger append_only before update or delete or truncate on postmeter.ledger_export
    for each statement execute function postmeter.forbid_change();

create table postmeter.ledger_drop (
    month       date   not null primary key,
    dropped_at  timestamptz not null default postmeter.clock(),
    decision_id bigint not null,
    used_from   timestamptz,
    used_until  timestamptz
);
comment on table postmeter.ledger_drop is 'Months of the ledger that were dropped after their export. Append-only.';
comment on column postmeter.ledger_drop.month is 'First day of the month.';
comment on column postmeter.ledger_drop.dropped_at is 'When.';
comment on column postmeter.ledger_drop.decision_id is 'The decision: who and why.';
comment on column postmeter.ledger_drop.used_from is 'The earliest use in it; null: it had no usage.';
comment on column postmeter.ledger_drop.used_until is 'The latest use in it.';
create trigger append_only before update or delete or truncate on postmeter.ledger_drop
    for each statement execute function postmeter.forbid_change();

create table postmeter.ledger_carry (
    month           date    not null,
    place           text    not null check (place in ('recorded', 'exempt', 'written_off', 'allocated')),
    org             text    not null,
    product         text    not null,
    metric          text    not null,
    meter_metric_id bigint,
    destination_id  integer,
    delivery_id     bigint,
    subscription_id bigint,
    hour            timestamptz,
    usages          bigint  not null,
    quantity        numeric not null,
    check (num_nonnulls(meter_metric_id, destination_id, delivery_id, subscription_id, hour) = case place when 'allocated' then 5 else 0 end)
);
create index ledger_carry_by_metric on postmeter.ledger_carry (meter_metric_id) where meter_metric_id is not null;
create index ledger_carry_by_delivery on postmeter.ledger_carry (delivery_id) where delivery_id is not null;
create index ledger_carry_by_org on postmeter.ledger_carry (org, hour) where hour is not null;
comment on table postmeter.ledger_carry is 'What a dropped month of the ledger came to, of allocations per remittance, subscription, metric and hour: the balances and summaries add it, and say what they said before. Append-only.';
comment on column postmeter.ledger_carry.month is 'The dropped month.';
comment on column postmeter.ledger_carry.place is 'recorded (all usage), and where it was: exempt, written_off or allocated.';
comment on column postmeter.ledger_carry.org is 'The org.';
comment on column postmeter.ledger_carry.product is 'The product.';
comment on column postmeter.ledger_carry.metric is 'The metric.';
comment on column postmeter.ledger_carry.meter_metric_id is 'The meter and metric it was counted on, of what was allocated.';
comment on column postmeter.ledger_carry.destination_id is 'Its destination, live or a shadow.';
comment on column postmeter.ledger_carry.delivery_id is 'The remittance that counted it.';
comment on column postmeter.ledger_carry.subscription_id is 'The subscription that matched.';
comment on column postmeter.ledger_carry.hour is 'Its own hour.';
comment on column postmeter.ledger_carry.usages is 'How many usages.';
comment on column postmeter.ledger_carry.quantity is 'How much, in units of the metric.';
create trigger append_only before update or delete or truncate on postmeter.ledger_carry
    for each statement execute function postmeter.forbid_change();

create function postmeter.moment_of(id uuid) returns timestamptz
language sql stable parallel safe
as $$ select to_timestamp(('x' || lpad(substr(replace(id::text, '-', ''), 1, 12), 16, '0'))::bit(64)::bigint / 1000.0) $$;
comment on function postmeter.moment_of(uuid) is 'When new_id() made this id, to the millisecond.';

create function postmeter.ledger_span(month date, out first_id uuid, out until_id uuid)
language sql stable parallel safe
as $$ select postmeter.id_at(month::timestamp at time zone 'UTC'), postmeter.id_at((month + interval '1 month')::timestamp at time zone 'UTC') $$;
comment on function postmeter.ledger_span(date) is 'The ids of a month of the ledger: from the first on, and before until_id.';

create function postmeter.ledger_key(parent text) returns text
language sql immutable parallel safe
as $$ select case parent when 'allocation' then 'usage_id' when 'outcome' then 'attempt_id' else 'id' end $$;
comment on function postmeter.ledger_key(text) is 'The column by which a table of the ledger is partitioned.';

-- made ahead, and healed ---------------------------------------------------------------------------------------------------

create function postmeter.spilled_months() returns setof date
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    parent text;
    id     uuid;
    month  date;
begin
    foreach parent in array array['usage', 'allocation', 'attempt', 'outcome'] loop
        id := '00000000-0000-0000-0000-000000000000';
        loop
            -- from month to month by the index: what waits there may be much
            execute format('select d.%1$I from postmeter.%2$I d where d.%1$I >= $1 order by 1 limit 1',
                           postmeter.ledger_key(parent), parent || '_default') into id using id;
            exit when id is null;
            month := date_trunc('month', postmeter.moment_of(id) at time zone 'UTC')::date;
            return next month;
            id := (postmeter.ledger_span(month)).until_id;
        end loop;
    end loop;
end
$$;
comment on function postmeter.spilled_months() is 'Months of which rows are in a default partition.';

create function postmeter.create_partition(parent text, month date) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    child text := parent || to_char(month, '_YYYYMM');
    spare text := parent || '_default';
    key   text := postmeter.ledger_key(parent);
    ids   record;
    moved bigint;
    gone  bigint;
begin
    if to_regclass('postmeter.' || child) is not null then
        return false;
    end if;
    select * into ids from postmeter.ledger_span(month);
    -- attached rather than created as a partition: that would lock the parent against readers
    execute format('create table postmeter.%I (like postmeter.%I including defaults including generated including constraints including indexes)',
                   child, parent);
    execute format('comment on table postmeter.%I is %L', child, 'Partition of postmeter.' || parent || ' for a month of recording.');
    -- what attaching needs comes first, so that nothing is copied in vain
    execute format('lock table only postmeter.%I in share update exclusive mode', parent);
    execute format('lock table postmeter.%I in access exclusive mode', spare);
    execute format('insert into postmeter.%I select * from postmeter.%I where %3$I >= $1 and %3$I < $2', child, spare, key)
        using ids.first_id, ids.until_id;
    get diagnostics moved = row_count;
    if moved > 0 then
        -- evidence is moved, not deleted: by the owner alone, under this lock, and to the row
        execute format('alter table postmeter.%I disable trigger append_only', spare);
        execute format('delete from postmeter.%I where %2$I >= $1 and %2$I < $2', spare, key) using ids.first_id, ids.until_id;
        get diagnostics gone = row_count;
        execute format('alter table postmeter.%I enable trigger append_only', spare);
        if gone <> moved then
            raise exception '% rows of % were copied and % taken out', moved, spare, gone using errcode = 'PM040', table = spare, constraint = 'rows_moved';
        end if;
    end if;
    execute format('alter table postmeter.%I attach partition postmeter.%I for values from (%L) to (%L)', parent, child, ids.first_id, ids.until_id);
    -- triggers for statements are not handed down
    execute format('create trigger append_only before update or delete or truncate on postmeter.%I
                    for each statement execute function postmeter.forbid_change()', child);
    return true;
end
$$;
comment on function postmeter.create_partition(text, date) is 'Makes one monthly partition and moves into it what waits in the default partition, exactly (PM040). False: it is there.';

create or replace function postmeter.create_partitions(months_ahead integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
declare
    -- ids are made from the server's clock, so partitions follow it too
    this_month date := date_trunc('month', clock_timestamp() at time zone 'UTC')::date;
    spilled    date[] := array(select m from postmeter.spilled_months() m);
    wanted     date;
    parent     text;
    made       integer := 0;
    fresh      integer;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('postmeter.create_partitions', 0)) then
        return 0;
    end if;
    -- those that are made at once come first; then one that has rows to move, for its locks last until this commits
    for wanted in
        select w.month
        from (select (this_month + n * interval '1 month')::date as month from generate_series(0, months_ahead) n
              -- a month has all four or none
              union select to_date(right(c.relname, 6), 'YYYYMM') from pg_inherits i join pg_class c on c.oid = i.inhrelid and c.relname ~ '_[0-9]{6}$'
              where i.inhparent in ('postmeter.usage'::regclass, 'postmeter.allocation'::regclass, 'postmeter.attempt'::regclass, 'postmeter.outcome'::regclass)
              union select m from unnest(spilled) m where m <= this_month + months_ahead * interval '1 month') w
        where not exists (select from postmeter.ledger_drop d where d.month = w.month)
        order by w.month = any (spilled), w.month
    loop
        exit when made > 0 and wanted = any (spilled);
        fresh := 0;
        begin
            foreach parent in array array['usage', 'allocation', 'attempt', 'outcome'] loop
                if postmeter.create_partition(parent, wanted) then
                    fresh := fresh + 1;
                    -- what moves rows stops those who write to that table until it commits: one table at a time
                    exit when wanted = any (spilled);
                end if;
            end loop;
            made := made + fresh;
        exception when lock_not_available then
            -- somebody reads: the next round tries again, and nobody queues behind us for long
            continue;
        end;
    end loop;
    return made;
end
$$;
comment on function postmeter.create_partitions(integer) is 'Makes the monthly partitions of usage, allocation, attempt and outcome from this month on, and one of a month that has rows in a default partition, which it moves: call it until it returns 0. Returns how many were made. Gives up after 100 ms behind a lock, so that nobody queues behind it; the next round tries again.';

-- what may be dropped ------------------------------------------------------------------------------------------------------

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
comment on function postmeter.ledger_meters(date) is 'The meters that a month of the ledger is about: of its usage, and of what was attempted in it.';

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
comment on function postmeter.ledger_closings(date) is 'The billing months of live destinations that a month of the ledger is about, and the decisions that closed them; null: not closed.';

create function postmeter.ledger_why_not(month date) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
#variable_conflict use_column
declare
    keep  interval := (select s.ledger_retention from postmeter.setting s);
    ends  timestamptz := (ledger_why_not.month + interval '1 month')::timestamp at time zone 'UTC';
    ids   record;
    bad   record;
    meters bigint[];
begin
    if exists (select from postmeter.ledger_drop d where d.month = ledger_why_not.month) then
        return 'it was dropped';
    elsif keep is null then
        return 'no retention is set: everything is kept';
    elsif ends > clock_timestamp() then
        return 'it is still written to';
    elsif ends > postmeter.clock() - keep then
        return format('it is kept until %s', to_char((ends + keep) at time zone 'UTC', 'YYYY-MM-DD'));
    end if;
    select * into ids from postmeter.ledger_span(ledger_why_not.month);
    if ledger_why_not.month in (select m from postmeter.spilled_months() m) then
        return 'rows of it wait in a default partition';
    end if;
    select count(*) as n into bad from postmeter.outbox o where o.id >= ids.first_id and o.id < ids.until_id;
    if bad.n > 0 then
        return format('usage of it waits in the outbox: %s', bad.n);
    end if;
    select count(*) as n, min(h.reason) as reason into bad from postmeter.held h where h.usage_id >= ids.first_id and h.usage_id < ids.until_id;
    if bad.n > 0 then
        return format('usage of it is held: %s (%s)', bad.n, bad.reason);
    end if;
    select count(*) as n into bad from postmeter.shadow_usage g where g.reason is null and g.usage_id >= ids.first_id and g.usage_id < ids.until_id;
    if bad.n > 0 then
        return format('usage of it waits for a shadow: %s', bad.n);
    end if;
    select a.delivery_id as id into bad from postmeter.attempt a
    where a.id >= ids.first_id and a.id < ids.until_id and not exists (select from postmeter.outcome o where o.attempt_id = a.id) limit 1;
    if found then
        return format('an attempt of remittance %s has no outcome', bad.id);
    end if;
    meters := array(select * from postmeter.ledger_meters(ledger_why_not.month));
    select d.id, d.status into bad
    from (select a.delivery_id from postmeter.allocation a where a.usage_id >= ids.first_id and a.usage_id < ids.until_id
          union
          select a.delivery_id from postmeter.attempt a where a.id >= ids.first_id and a.id < ids.until_id
          union
          -- money moves on without usage of its own (released, deferred, carried, the month's last cut), but on its meter
          select o.id from postmeter.delivery o where o.meter_id = any (meters)
          union
          select p.delivery_id from postmeter.part p where p.meter_id = any (meters)) k
    join postmeter.delivery d on d.id = k.delivery_id
    where d.maybe_billed or d.status in ('open', 'due', 'in_flight')
       or not d.shadow and d.status not in ('accepted', 'nothing_due', 'dry_run', 'written_off', 'released')
    order by d.id limit 1;
    if found then
        return format('remittance %s is %s', bad.id, replace(bad.status, '_', ' '));
    end if;
    select c.destination, c.billing_month into bad from postmeter.ledger_closings(ledger_why_not.month) c where c.decision_id is null limit 1;
    if found then
        return format('%s of %s is not closed', to_char(bad.billing_month, 'YYYY-MM'), bad.destination);
    end if;
    select a.subscription_id as id into bad from postmeter.allocation a
    where a.usage_id >= ids.first_id and a.usage_id < ids.until_id
      and not exists (select from postmeter.subscription s where s.id = a.subscription_id) limit 1;
    if found then
        return format('usage of it was counted by subscription %s, which is gone', bad.id);
    end if;
    -- each usage in one place, with its quantity: what the balances will carry is what was
    select u.event_id, u.source into bad
    from postmeter.usage u
    left join (select a.usage_id, count(*) as n, sum(a.quantity) as quantity from postmeter.allocation a
               join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
               where a.usage_id >= ids.first_id and a.usage_id < ids.until_id group by 1) a on a.usage_id = u.id
    left join postmeter.exempted x on x.usage_id = u.id
    left join postmeter.usage_written_off w on w.usage_id = u.id
    where u.id >= ids.first_id and u.id < ids.until_id
      and (coalesce(a.n, 0) + num_nonnulls(x.usage_id, w.usage_id) <> 1 or a.quantity <> u.quantity)
    limit 1;
    if found then
        return format('usage %s of %s is not in exactly one place', bad.event_id, bad.source);
    end if;
    return null;
end
$$;
comment on function postmeter.ledger_why_not(date) is 'Why a month of the ledger is not finished: the first reason that is found; null: it is, and may be exported and then dropped.';

create view postmeter.ledger_partition as
with part as (
    select p.parent, to_date(right(c.relname, 6), 'YYYYMM') as month, c.oid, c.reltuples
    from (values ('usage'), ('allocation'), ('attempt'), ('outcome')) p(parent)
    join pg_inherits i on i.inhparent = ('postmeter.' || p.parent)::regclass
    join pg_class c on c.oid = i.inhrelid and c.relname ~ '_[0-9]{6}$'
    union all
    select p.parent, d.month, null::oid as oid, null::real as reltuples
    from postmeter.ledger_drop d cross join (values ('usage'), ('allocation'), ('attempt'), ('outcome')) p(parent)
), months as (
    -- an aggregate, so that it is asked once a month, and only for the months that are asked for
    select m.month, min(postmeter.ledger_why_not(m.month)) as why_not from (select distinct p.month from part p) m group by m.month
)
select p.parent as table_name, p.month, p.month::timestamp at time zone 'UTC' as begins_at,
       (p.month + interval '1 month')::timestamp at time zone 'UTC' as ends_at,
       coalesce((select (t ->> 'rows')::bigint from jsonb_array_elements(e.manifest::jsonb -> 'tables') t where t ->> 'table' = p.parent),
                nullif(p.reltuples, -1)::bigint) as rows,
       pg_total_relation_size(p.oid) as bytes, m.why_not is null or d.month is not null as finished, m.why_not,
       e.exported_at, e.digest, d.dropped_at
from part p
join months m on m.month = p.month
left join postmeter.ledger_export e on e.month = p.month
left join postmeter.ledger_drop d on d.month = p.month;
comment on view postmeter.ledger_partition is 'The monthly partitions of the ledger, those that were dropped included: how large, whether everything in them is finished, and if not, why not.';
comment on column postmeter.ledger_partition.table_name is 'Which table of the ledger.';
comment on column postmeter.ledger_partition.month is 'First day of the month.';
comment on column postmeter.ledger_partition.begins_at is 'The first moment of recording in it, UTC.';
comment on column postmeter.ledger_partition.ends_at is 'The first moment after it.';
comment on column postmeter.ledger_partition.rows is 'How many rows: exact once exported, else as counted by the last analyze; null: unknown.';
comment on column postmeter.ledger_partition.bytes is 'On disk, with indexes; null: dropped.';
comment on column postmeter.ledger_partition.finished is 'Everything in it is finished: it may be exported, and dropped once that is done.';
comment on column postmeter.ledger_partition.why_not is 'The first reason why it is not finished.';
comment on column postmeter.ledger_partition.exported_at is 'When its export was recorded.';
comment on column postmeter.ledger_partition.digest is 'SHA-256 of the export''s manifest.';
comment on column postmeter.ledger_partition.dropped_at is 'When it was dropped; null: it is here.';

-- exported -----------------------------------------------------------------------------------------------------------------

create function postmeter.ledger_time(moment timestamptz) returns text
language sql stable parallel safe
as $$ select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;
comment on function postmeter.ledger_time(timestamptz) is 'A moment as the export writes it: UTC, microseconds, whatever the session says.';

create function postmeter.ledger_line(u postmeter.usage) returns text
language sql stable parallel safe
as $$ select json_build_object('id', u.id, 'source', u.source, 'event_id', u.event_id, 'org', u.org, 'product', u.product, 'metric', u.metric,
    'quantity', u.quantity::text, 'used_at', postmeter.ledger_time(u.used_at), 'account', u.account, 'corrects', u.corrects,
    'corrected_identity', u.corrected_identity, 'request_id', u.request_id, 'traceparent', u.traceparent, 'attributes', u.attributes,
    'recorded_at', postmeter.ledger_time(u.recorded_at))::text $$;
comment on function postmeter.ledger_line(postmeter.usage) is 'A usage as the export writes it: every column, the quantity as text, to the letter.';
create function postmeter.ledger_line(a postmeter.allocation) returns text
language sql stable parallel safe
as $$ select json_build_object('usage_id', a.usage_id, 'destination_id', a.destination_id, 'delivery_id', a.delivery_id,
    'meter_metric_id', a.meter_metric_id, 'round', a.round, 'quantity', a.quantity::text, 'hour', postmeter.ledger_time(a.hour),
    'subscription_id', a.subscription_id)::text $$;
comment on function postmeter.ledger_line(postmeter.allocation) is 'An allocation as the export writes it.';
create function postmeter.ledger_line(a postmeter.attempt) returns text
language sql stable parallel safe
as $$ select json_build_object('id', a.id, 'delivery_id', a.delivery_id, 'destination_id', a.destination_id, 'call_id', a.call_id,
    'worker_id', a.worker_id, 'number', a.number, 'claimed_at', postmeter.ledger_time(a.claimed_at))::text $$;
comment on function postmeter.ledger_line(postmeter.attempt) is 'An attempt as the export writes it.';
create function postmeter.ledger_line(o postmeter.outcome) returns text
language sql stable parallel safe
as $$ select json_build_object('attempt_id', o.attempt_id, 'outcome', o.outcome, 'code', o.code, 'is_try', o.is_try,
    'shown_quantity', o.shown_quantity::text, 'retry_after', extract(epoch from o.retry_after)::text, 'receipt', o.receipt,
    'http_status', o.http_status, 'their_request_id', o.their_request_id, 'excerpt', o.excerpt,
    'duration', extract(epoch from o.duration)::text, 'recorded_at', postmeter.ledger_time(o.recorded_at))::text $$;
comment on function postmeter.ledger_line(postmeter.outcome) is 'An outcome as the export writes it; spans of time in seconds.';

create function postmeter.chain_step(head bytea, line text) returns bytea
language sql immutable strict parallel safe
as $$ select sha256(head || convert_to(line, 'UTF8')) $$;
comment on function postmeter.chain_step(bytea, text) is 'The next link of a hash chain: SHA-256 of the one before and the line.';
create aggregate postmeter.chain_of(text) (sfunc = postmeter.chain_step, stype = bytea,
    initcond = '\x0000000000000000000000000000000000000000000000000000000000000000');
comment on aggregate postmeter.chain_of(text) is 'Head of the hash chain over lines, in their order; it begins with 32 zero bytes.';

create function postmeter.ledger_heads(month date) returns table (table_name text, rows bigint, chain text, sums jsonb)
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
          where r.usage_id >= (select first_id from ids) and r.usage_id < (select until_id from ids) order by r.usage_id, r.destination_id) l
    union all
    select 'attempt', count(*), encode(postmeter.chain_of(l.line), 'hex'), '{}'
    from (select postmeter.ledger_line(r) as line from postmeter.attempt r
          where r.id >= (select first_id from ids) and r.id < (select until_id from ids) order by r.id) l
    union all
    select 'outcome', count(*), encode(postmeter.chain_of(l.line), 'hex'),
           jsonb_build_object('shown_quantity', trim_scale(coalesce(sum(l.quantity), 0))::text)
    from (select postmeter.ledger_line(r) as line, r.shown_quantity as quantity from postmeter.outcome r
          where r.attempt_id >= (select first_id from ids) and r.attempt_id < (select until_id from ids) order by r.attempt_id) l
$$;
comment on function postmeter.ledger_heads(date) is 'Rows of a month of the ledger, the heads of their hash chains, and their sums, as they are in the database now.';

create function postmeter.check_ledger_rows(month date, manifest text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    bad text;
begin
    select h.table_name into bad
    from postmeter.ledger_heads(check_ledger_rows.month) h
    left join jsonb_array_elements(manifest::jsonb -> 'tables') t on t ->> 'table' = h.table_name
    where (t ->> 'rows')::bigint is distinct from h.rows or t ->> 'chain' is distinct from h.chain
       or t -> 'sums' is distinct from h.sums limit 1;
    if found then
        raise exception 'the rows of % in % are not those of the manifest', bad, to_char(check_ledger_rows.month, 'YYYY-MM')
            using errcode = 'PM043', column = 'manifest', constraint = 'ledger_rows', hint = 'Report this as a defect; nothing is dropped.';
    end if;
end
$$;
comment on function postmeter.check_ledger_rows(date, text) is 'Refuses a manifest that is not of the rows in the database (PM043): it reads them all.';

create function postmeter.check_ledger_finished(month date) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    why_not text;
begin
    if month is null or extract(day from month) <> 1 then
        raise exception 'a month is named by its first day, not by %', coalesce(month::text, 'nothing')
            using errcode = 'PM036', column = 'month', constraint = 'month_first_day';
    end if;
    why_not := postmeter.ledger_why_not(month);
    if why_not is not null then
        raise exception '% is not finished: %', to_char(month, 'YYYY-MM'), why_not
            using errcode = 'PM041', column = 'month', constraint = 'ledger_finished', hint = 'postmeter.ledger_partition says it of every month.';
    end if;
end
$$;
comment on function postmeter.check_ledger_finished(date) is 'Refuses a month of the ledger in which something is not finished (PM041).';

create function postmeter.forget_shadow_usage(month date) returns void
language sql set search_path = pg_catalog, pg_temp
as $$
    -- waits for a fold that has them in its hands; whoever calls looks at the rows of the ledger afterwards
    delete from postmeter.shadow_usage g using postmeter.ledger_span(forget_shadow_usage.month) i
    where g.usage_id >= i.first_id and g.usage_id < i.until_id
$$;
comment on function postmeter.forget_shadow_usage(date) is 'What a shadow was given of a month of the ledger and does not count goes with the month.';

create function postmeter.record_ledger_export(month date, manifest text, who text, why text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    known  postmeter.ledger_export;
    before postmeter.ledger_export;
    said   jsonb := manifest::jsonb;
    digest text := encode(sha256(convert_to(manifest, 'UTF8')), 'hex');
    made   bigint;
begin
    perform postmeter.check_decider(who, why);
    lock table postmeter.ledger_export in share row exclusive mode;
    select e.* into known from postmeter.ledger_export e where e.month = record_ledger_export.month;
    if found then
        if known.digest = digest then
            return digest;
        end if;
        raise exception '% was exported before, with another manifest', to_char(record_ledger_export.month, 'YYYY-MM')
            using errcode = 'PM042', column = 'manifest', constraint = 'ledger_exported_once';
    end if;
    perform postmeter.check_ledger_finished(record_ledger_export.month);
    select e.* into before from postmeter.ledger_export e order by e.number desc limit 1;
    if said ->> 'format' is distinct from 'postmeter-ledger/1' or said ->> 'month' is distinct from to_char(record_ledger_export.month, 'YYYY-MM')
       or (said ->> 'number')::integer is distinct from coalesce(before.number, 0) + 1 or said ->> 'previous' is distinct from before.digest then
        raise exception 'the manifest does not follow the last one' using errcode = 'PM042', column = 'manifest',
            constraint = 'ledger_chain', hint = 'Another export may have run: export it again.';
    end if;
    -- a shadow whose catalogue is mended later must not count into a month that is exported
    perform postmeter.forget_shadow_usage(record_ledger_export.month);
    perform postmeter.check_ledger_rows(record_ledger_export.month, manifest);
    insert into postmeter.decision (who, why, verb, detail)
    values (who, why, 'export', jsonb_build_object('month', record_ledger_export.month, 'digest', digest)) returning id into made;
    insert into postmeter.ledger_export (month, number, manifest, digest, decision_id)
    values (record_ledger_export.month, (said ->> 'number')::integer, manifest, digest, made);
    return digest;
end
$$;
comment on function postmeter.record_ledger_export(date, text, text, text) is 'Records the manifest of an export that was written and read again; returns its digest. Only of a finished month (PM041), in the order of exports (PM042), with the rows that are here (PM043). The same again changes nothing.';

create function postmeter.set_ledger_retention(retention interval, who text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    s postmeter.setting;
begin
    perform postmeter.check_decider(who, why);
    select x.* into s from postmeter.setting x for update;
    -- as spans of the calendar: a year counts as 360 days where two intervals are compared
    if clock_timestamp() - retention > clock_timestamp() - s.usage_age_max then
        raise exception 'the ledger cannot be kept for less than usage is taken: %', s.usage_age_max
            using errcode = 'PM044', column = 'retention', constraint = 'ledger_outlives_intake';
    elsif retention is not distinct from s.ledger_retention then
        return false;
    end if;
    update postmeter.setting x set ledger_retention = retention;
    insert into postmeter.decision (who, why, verb, status_before, status_after)
    values (who, why, 'retain', coalesce(s.ledger_retention::text, 'for ever'), coalesce(retention::text, 'for ever'));
    return true;
end
$$;
comment on function postmeter.set_ledger_retention(interval, text, text) is 'For how long the ledger is kept at least; null: for ever. Never for less than usage is taken (PM044). False: it was so already.';

-- dropped ------------------------------------------------------------------------------------------------------------------

create function postmeter.carry_ledger(month date) returns void
language plpgsql set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
    ids record;
begin
    select * into ids from postmeter.ledger_span(month);
    insert into postmeter.ledger_carry (month, place, org, product, metric, meter_metric_id, destination_id, delivery_id, subscription_id, hour, usages, quantity)
    select carry_ledger.month, 'recorded', u.org, u.product, u.metric, null::bigint, null::integer, null::bigint, null::bigint, null::timestamptz, count(*), sum(u.quantity)
    from postmeter.usage u where u.id >= ids.first_id and u.id < ids.until_id group by 3, 4, 5
    union all
    select carry_ledger.month, 'exempt', u.org, u.product, u.metric, null, null, null, null, null, count(*), sum(u.quantity)
    from postmeter.usage u join postmeter.exempted x on x.usage_id = u.id
    where u.id >= ids.first_id and u.id < ids.until_id group by 3, 4, 5
    union all
    select carry_ledger.month, 'written_off', u.org, u.product, u.metric, null, null, null, null, null, count(*), sum(u.quantity)
    from postmeter.usage u join postmeter.usage_written_off x on x.usage_id = u.id
    where u.id >= ids.first_id and u.id < ids.until_id group by 3, 4, 5
    union all
    select carry_ledger.month, 'allocated', s.org, mm.product, mm.metric, mm.id, a.destination_id, a.delivery_id, s.id, a.hour, count(*), sum(a.quantity)
    from postmeter.allocation a
    join postmeter.subscription s on s.id = a.subscription_id
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    where a.usage_id >= ids.first_id and a.usage_id < ids.until_id group by s.id, mm.id, a.destination_id, a.delivery_id, a.hour;
end
$$;
comment on function postmeter.carry_ledger(date) is 'Writes down what a month of the ledger came to, before it is dropped.';

create function postmeter.drop_ledger_month(month date, who text, why text, dry_run boolean default true)
returns table (table_name text, rows bigint, bytes bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
#variable_conflict use_column
declare
    exported postmeter.ledger_export;
    closed   bigint[];
    ids      record;
    made     bigint;
    attempts integer := 0;
    parts    text[] := array(select t || to_char(drop_ledger_month.month, '_YYYYMM')
                             from unnest(array['usage', 'allocation', 'attempt', 'outcome']) t);
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_ledger_finished(drop_ledger_month.month);
    select e.* into exported from postmeter.ledger_export e where e.month = drop_ledger_month.month;
    if not found then
        raise exception '% was not exported', to_char(drop_ledger_month.month, 'YYYY-MM')
            using errcode = 'PM042', column = 'month', constraint = 'ledger_exported', hint = 'postmeter ledger export does it.';
    end if;
    if dry_run is false then
        perform postmeter.forget_shadow_usage(drop_ledger_month.month);
    end if;
    perform postmeter.check_ledger_rows(drop_ledger_month.month, exported.manifest);
    select * into ids from postmeter.ledger_span(drop_ledger_month.month);
    return query
    select t ->> 'table', (t ->> 'rows')::bigint,
           pg_total_relation_size(to_regclass(format('postmeter.%I', (t ->> 'table') || to_char(drop_ledger_month.month, '_YYYYMM'))))
    from jsonb_array_elements(exported.manifest::jsonb -> 'tables') t;
    if dry_run is not false then
        return;
    end if;
    closed := array(select c.decision_id from postmeter.ledger_closings(drop_ledger_month.month) c);
    perform postmeter.carry_ledger(drop_ledger_month.month);
    insert into postmeter.decision (who, why, verb, detail)
    values (who, why, 'drop', jsonb_build_object('month', drop_ledger_month.month, 'digest', exported.digest)) returning id into made;
    insert into postmeter.ledger_drop (month, decision_id, used_from, used_until)
    select drop_ledger_month.month, made, min(u.used_at), max(u.used_at) from postmeter.usage u where u.id >= ids.first_id and u.id < ids.until_id;
    -- from here on no month is closed or opened again: those that were closed above must still be
    perform postmeter.month_gate();
    if (select count(*) from postmeter.closed_month c where c.decision_id = any (closed)) <> cardinality(closed) then
        raise exception 'a billing month was opened again meanwhile' using errcode = 'PM041', column = 'month', constraint = 'ledger_finished';
    end if;
    loop
        attempts := attempts + 1;
        begin
            -- only what the drop changes: a vacuum of another month is none of its business
            lock table only postmeter.usage, only postmeter.allocation, only postmeter.attempt, only postmeter.outcome in access exclusive mode;
            execute format('lock table postmeter.%I, postmeter.%I, postmeter.%I, postmeter.%I in access exclusive mode', variadic parts);
            lock table postmeter.usage_default, postmeter.allocation_default, postmeter.attempt_default, postmeter.outcome_default
                in access exclusive mode;
            exit;
        exception when lock_not_available then
            -- nobody queues behind us for longer than the lock_timeout
            if attempts >= 10 then
                raise exception 'somebody reads or vacuums the ledger: nothing was dropped' using errcode = '55P03', hint = 'Try again later.';
            end if;
            perform pg_sleep(0.1);
        end;
    end loop;
    execute format('drop table postmeter.%I, postmeter.%I, postmeter.%I, postmeter.%I', variadic parts);
end
$$;
comment on function postmeter.drop_ledger_month(date, text, text, boolean) is 'Drops a month of the ledger: its four partitions at once, never a row. Only if everything in it is finished (PM041), it was exported (PM042), and the rows are still those of the manifest (PM043). What it came to is carried in the balances; identities stay. Dry run unless told otherwise.';

create function postmeter.check_ledger_kept(destination text, month date) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    gone text;
begin
    select string_agg(to_char(d.month, 'YYYY-MM'), ', ' order by d.month) into gone
    from postmeter.ledger_drop d, postmeter.destination t
    where t.name = check_ledger_kept.destination
      and d.used_until >= check_ledger_kept.month::timestamp at time zone t.zone
      and d.used_from < (check_ledger_kept.month + interval '1 month')::timestamp at time zone t.zone;
    if gone is not null then
        raise exception 'usage of % was dropped with the ledger of %: it cannot be recalculated here', to_char(month, 'YYYY-MM'), gone
            using errcode = 'PM045', column = 'month', constraint = 'ledger_kept', hint = 'The export holds it; postmeter.ledger_carry says what it came to.';
    end if;
end
$$;
comment on function postmeter.check_ledger_kept(text, date) is 'Refuses to recalculate a month whose usage was dropped (PM045).';

-- corrections: a dropped month may hold what they are summed with; else as before
create or replace function postmeter.check_corrections(corrected uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    bad record;
begin
    -- lock first, in sorted order; sum in a later statement, which sees what others committed while we waited
    perform 1 from postmeter.usage_identity i where i.identity = any (corrected) order by i.identity for no key update;
    -- a write, not only a lock: under REPEATABLE READ the next correction then fails with 40001 instead of adding up
    -- without the sums that its snapshot hides
    update postmeter.usage_identity i set content = i.content where i.identity = any (corrected);
    select c.source, c.corrects, c.event_id,
           case when k.dropped then 'dropped'
                when o.id is null then 'unknown'
                when o.corrects is not null then 'correction'
                when (o.org, o.product, o.metric, o.account) is distinct from (c.org, c.product, c.metric, c.account) then 'meter'
                when date_trunc('month', o.used_at, 'UTC') <> date_trunc('month', c.used_at, 'UTC') then 'month'
                else 'below_zero' end as problem
    into bad
    from postmeter.usage c
    left join postmeter.usage_identity i on i.identity = c.corrected_identity
    left join postmeter.usage o on o.id = i.usage_id
    -- itself, or earlier corrections of it, would be missing in the sum
    cross join lateral (select exists (select from postmeter.ledger_drop d
        where d.month >= date_trunc('month', postmeter.moment_of(i.usage_id) at time zone 'UTC')::date) as dropped) k
    where c.corrected_identity = any (corrected)
      and (k.dropped or o.id is null or o.corrects is not null
           or (o.org, o.product, o.metric, o.account) is distinct from (c.org, c.product, c.metric, c.account)
           or date_trunc('month', o.used_at, 'UTC') <> date_trunc('month', c.used_at, 'UTC')
           or o.quantity + (select sum(x.quantity) from postmeter.usage x where x.corrected_identity = c.corrected_identity) < 0)
    order by c.id desc
    limit 1;
    if found then
        raise exception 'usage %: corrects % %', quote_literal(bad.event_id), quote_literal(bad.corrects), case bad.problem
            when 'dropped' then 'names usage whose month of the ledger, or a later one, was dropped'
            when 'unknown' then format('names no usage of source %L', bad.source)
            when 'correction' then 'names a correction; correct the usage itself'
            when 'meter' then 'has another org, product, metric or account'
            when 'month' then 'is usage of another month; use its used_at'
            else 'would bring that usage below zero' end
            using errcode = case bad.problem when 'unknown' then 'PM003' when 'below_zero' then 'PM004' else 'PM001' end,
                  schema = 'postmeter', table = 'outbox', column = 'corrects', constraint = 'corrects_' || bad.problem;
    end if;
end
$$;
comment on function postmeter.check_corrections(uuid[]) is
    'Refuses corrections of the unknown (PM003), below zero (PM004), of another meter or month, or of what may have been dropped (PM001). Locks the corrected identities in sorted order.';

-- balances that add what was dropped; columns as before
create or replace view postmeter.usage_balance as
with recorded as (
    select r.org, r.product, r.metric, sum(r.usages)::bigint as usages, sum(r.quantity) as quantity
    from (select u.org, u.product, u.metric, count(*) as usages, sum(u.quantity) as quantity from postmeter.usage u group by 1, 2, 3
          union all select c.org, c.product, c.metric, c.usages, c.quantity from postmeter.ledger_carry c where c.place = 'recorded') r
    group by 1, 2, 3
), waiting as (
    select o.org, o.product, o.metric, count(*) as usages, sum(o.quantity) as quantity from postmeter.outbox o group by 1, 2, 3
), held as (
    select h.org, h.product, h.metric, count(*) as usages, sum(h.quantity) as quantity from postmeter.held h group by 1, 2, 3
), exempt as (
    select r.org, r.product, r.metric, sum(r.usages)::bigint as usages, sum(r.quantity) as quantity
    from (select u.org, u.product, u.metric, 1 as usages, u.quantity
          from postmeter.exempted x join postmeter.usage u on u.id = x.usage_id
          union all select c.org, c.product, c.metric, c.usages, c.quantity from postmeter.ledger_carry c where c.place = 'exempt') r
    group by 1, 2, 3
), written_off as (
    select r.org, r.product, r.metric, sum(r.usages)::bigint as usages, sum(r.quantity) as quantity
    from (select u.org, u.product, u.metric, 1 as usages, u.quantity
          from postmeter.usage_written_off x join postmeter.usage u on u.id = x.usage_id
          union all select c.org, c.product, c.metric, c.usages, c.quantity from postmeter.ledger_carry c where c.place = 'written_off') r
    group by 1, 2, 3
), allocated as (
    select r.org, r.product, r.metric, sum(r.usages)::bigint as usages, sum(r.quantity) as quantity
    from (select s.org, mm.product, mm.metric, count(*) as usages, sum(a.quantity) as quantity
          from postmeter.allocation a
          join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
          join postmeter.subscription s on s.id = a.subscription_id
          join postmeter.meter_metric mm on mm.id = a.meter_metric_id
          group by 1, 2, 3
          union all
          select c.org, c.product, c.metric, c.usages, c.quantity
          from postmeter.ledger_carry c
          join postmeter.destination t on t.id = c.destination_id and t.shadow_of is null
          where c.place = 'allocated') r
    group by 1, 2, 3
)
select r.org, r.product, r.metric, r.usages, trim_scale(r.quantity) as recorded,
       trim_scale(coalesce(w.quantity, 0)) as waiting, trim_scale(coalesce(h.quantity, 0)) as held,
       trim_scale(coalesce(x.quantity, 0)) as exempt, trim_scale(coalesce(o.quantity, 0)) as written_off,
       trim_scale(coalesce(a.quantity, 0)) as allocated,
       trim_scale(r.quantity - coalesce(w.quantity, 0) - coalesce(h.quantity, 0) - coalesce(x.quantity, 0)
                  - coalesce(o.quantity, 0) - coalesce(a.quantity, 0)) as difference,
       r.usages - coalesce(w.usages, 0) - coalesce(h.usages, 0) - coalesce(x.usages, 0) - coalesce(o.usages, 0)
                - coalesce(a.usages, 0) as difference_usages
from recorded r
left join waiting w using (org, product, metric)
left join held h using (org, product, metric)
left join exempt x using (org, product, metric)
left join written_off o using (org, product, metric)
left join allocated a using (org, product, metric);
create or replace view postmeter.balance as
with factor as not materialized ( -- so that one meter_id is looked for in its own rows only
    select mm.id, mm.meter_id, mm.used, mm.covered,
           mm.factor_numerator * (postmeter.lcm_of(mm.factor_denominator) over (partition by mm.meter_id) / mm.factor_denominator) as units,
           postmeter.lcm_of(mm.factor_denominator) over (partition by mm.meter_id)::numeric as denominator
    from postmeter.meter_metric mm
), counted as (
    -- the remittances of the meter, and those of later months of which it is a part
    select d.meter_id, d.id, d.status, d.round from postmeter.delivery d
    union all
    select p.meter_id, d.id, d.status, d.round
    from postmeter.part p
    join postmeter.delivery d on d.id = p.delivery_id and d.meter_id <> p.meter_id
), recorded as (
    select r.meter_id, sum(r.recorded) as recorded, sum(r.open) as open
    from (select f.meter_id, sum(u.quantity * f.units) as recorded,
                 coalesce(sum(a.quantity * f.units) filter (where d.status = 'open' and a.round = d.round), 0) as open
          from factor f
          join counted d on d.meter_id = f.meter_id
          join postmeter.allocation a on a.delivery_id = d.id and a.meter_metric_id = f.id
          join postmeter.usage u on u.id = a.usage_id
          group by 1
          union all
          -- what dropped months of the ledger came to
          select f.meter_id, c.quantity * f.units, 0
          from postmeter.ledger_carry c join factor f on f.id = c.meter_metric_id) r
    group by 1
), sent as (
    select c.meter_id, d.status, sum(c.to_bill) as quantity,
           sum(case when d.status = 'conflict' and d.shown_quantity is not null and d.quantity > 0
                    then least(c.to_bill, c.to_bill * d.shown_quantity / d.quantity) else 0 end) as shown
    from postmeter.cut c join postmeter.delivery d on d.id = c.delivery_id
    where d.status <> 'released'
    group by 1, 2
), by_status as (
    select s.meter_id,
           sum(s.quantity) filter (where s.status in ('due', 'in_flight')) as due,
           sum(s.quantity) filter (where s.status = 'unknown') as unknown,
           sum(s.quantity) filter (where s.status = 'accepted') as accepted,
           sum(s.quantity) filter (where s.status = 'held') as held,
           sum(s.quantity) filter (where s.status = 'rejected') as rejected,
           sum(s.quantity) filter (where s.status = 'expired') as expired,
           sum(s.quantity) filter (where s.status = 'conflict') as conflict,
           sum(s.quantity) filter (where s.status = 'written_off') as written_off,
           sum(s.quantity) filter (where s.status = 'dry_run') as dry_run,
           sum(s.shown) as shown
    from sent s group by 1
), covered as (
    select f.meter_id, sum(f.covered * f.units) as covered, max(f.denominator) as denominator from factor f group by 1
)
select t.name as destination, m.buyer, m.dimension, m.month, m.id as meter_id, c.denominator,
       trim_scale(coalesce(r.recorded, 0)) as recorded, trim_scale(coalesce(r.open, 0)) as open,
       trim_scale(coalesce(b.due, 0) * c.denominator) as due, trim_scale(coalesce(b.unknown, 0) * c.denominator) as unknown,
       trim_scale((coalesce(b.accepted, 0) + coalesce(b.shown, 0)) * c.denominator) as accepted,
       trim_scale(coalesce(b.held, 0) * c.denominator) as held, trim_scale(coalesce(b.rejected, 0) * c.denominator) as rejected,
       trim_scale(coalesce(b.expired, 0) * c.denominator) as expired,
       trim_scale((coalesce(b.conflict, 0) - coalesce(b.shown, 0)) * c.denominator) as conflict,
       trim_scale(coalesce(b.written_off, 0) * c.denominator) as written_off,
       trim_scale(coalesce(b.dry_run, 0) * c.denominator) as dry_run,
       trim_scale(c.covered) as covered, trim_scale(m.carried * (c.denominator / m.denominator)) as carried,
       trim_scale(coalesce(r.recorded, 0) - coalesce(r.open, 0) - c.covered - m.carried * (c.denominator / m.denominator)
           - (coalesce(b.due, 0) + coalesce(b.unknown, 0) + coalesce(b.accepted, 0) + coalesce(b.held, 0) + coalesce(b.rejected, 0)
              + coalesce(b.expired, 0) + coalesce(b.conflict, 0) + coalesce(b.written_off, 0) + coalesce(b.dry_run, 0)) * c.denominator) as difference,
       t.shadow_of is not null as shadow
from postmeter.meter m
join postmeter.destination t on t.id = m.destination_id
join covered c on c.meter_id = m.id
left join recorded r on r.meter_id = m.id
left join by_status b on b.meter_id = m.id;

revoke execute on all functions in schema postmeter from public;
grant select on postmeter.ledger_export, postmeter.ledger_drop, postmeter.ledger_carry, postmeter.ledger_partition
    to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.moment_of(uuid), postmeter.ledger_span(date), postmeter.ledger_time(timestamptz),
    postmeter.ledger_why_not(date), postmeter.ledger_line(postmeter.usage), postmeter.ledger_line(postmeter.allocation),
    postmeter.ledger_line(postmeter.attempt), postmeter.ledger_line(postmeter.outcome), postmeter.chain_of(text),
    postmeter.chain_step(bytea, text), postmeter.ledger_heads(date), postmeter.check_ledger_kept(text, date)
    to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.set_ledger_retention(interval, text, text),
    postmeter.record_ledger_export(date, text, text, text), postmeter.drop_ledger_month(date, text, text, boolean)
    to postmeter_operator;

insert into postmeter.migration (version, name) values (19, '0019_pre_retention');
