-- Dropping a month of the ledger.

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
    select count(*) as n, min(h.reason) as reason into bad from postmeter.held h where h.usage_id >= ids.first_id
        and h.usage_id < ids.until_id;
    if bad.n > 0 then
        return format('usage of it is held: %s (%s)', bad.n, bad.reason);
    end if;
    select count(*) as n into bad from postmeter.shadow_usage g where g.reason is null and g.usage_id >= ids.first_id
        and g.usage_id < ids.until_id;
    if bad.n > 0 then
        return format('usage of it waits for a shadow: %s', bad.n);
    end if;
    select a.delivery_id as id into bad from postmeter.attempt a
    where a.id >= ids.first_id and a.id < ids.until_id
        and not exists (select from postmeter.outcome o where o.attempt_id = a.id) limit 1;
    if found then
        return format('an attempt of remittance %s has no outcome', bad.id);
    end if;
    meters := array(select * from postmeter.ledger_meters(ledger_why_not.month));
    select d.id, d.status into bad
    from (select a.delivery_id from postmeter.allocation a where a.usage_id >= ids.first_id
        and a.usage_id < ids.until_id
          union
          select a.delivery_id from postmeter.attempt a where a.id >= ids.first_id and a.id < ids.until_id
          union
          -- money moves on without usage of its own (released, deferred, carried, the month's last cut), but on its
          -- meter
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
    select c.destination, c.billing_month into bad from postmeter.ledger_closings(ledger_why_not.month) c
        where c.decision_id is null limit 1;
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
comment on function postmeter.ledger_why_not(date) is
    'Why a month of the ledger is not finished: the first reason that is found; null: it is, and may be exported '
    'and then dropped.';

create function postmeter.check_ledger_rows(month date, manifest text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    bad text;
begin
    select h.table_name into bad
    from (select x.* from postmeter.ledger_heads(check_ledger_rows.month) x
          union all
          -- an older program's has four tables
          select x.* from postmeter.ledger_leftover_heads(check_ledger_rows.month) x
          where manifest::jsonb ->> 'format' is distinct from 'postmeter-ledger/1') h
    left join jsonb_array_elements(manifest::jsonb -> 'tables') t on t ->> 'table' = h.table_name
    where (t ->> 'rows')::bigint is distinct from h.rows or t ->> 'chain' is distinct from h.chain
       or t -> 'sums' is distinct from h.sums limit 1;
    if found then
        raise exception 'the rows of % in % are not those of the manifest', bad,
            to_char(check_ledger_rows.month, 'YYYY-MM')
            using errcode = 'PM043', column = 'manifest', constraint = 'ledger_rows',
                  hint = 'Report this as a defect; nothing is dropped.';
    end if;
end
$$;
comment on function postmeter.check_ledger_rows(date, text) is
    'Refuses a manifest that is not of the rows in the database (PM043): it reads them all.';

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
            using errcode = 'PM041', column = 'month', constraint = 'ledger_finished',
                hint = 'postmeter.ledger_partition says it of every month.';
    end if;
end
$$;
comment on function postmeter.check_ledger_finished(date) is
    'Refuses a month of the ledger in which something is not finished (PM041).';

create function postmeter.forget_shadow_usage(month date) returns void
language sql set search_path = pg_catalog, pg_temp
as $$
    -- waits for a fold that has them in its hands; whoever calls looks at the rows of the ledger afterwards
    delete from postmeter.shadow_usage g using postmeter.ledger_span(forget_shadow_usage.month) i
    where g.usage_id >= i.first_id and g.usage_id < i.until_id
$$;
comment on function postmeter.forget_shadow_usage(date) is
    'What a shadow was given of a month of the ledger and does not count goes with the month.';

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
    select e.* into before
    from (select l.month, l.number, l.manifest, l.digest, l.exported_at, l.decision_id from postmeter.ledger_export l
          union all
          select m.month, m.number, m.manifest, m.digest, m.exported_at, m.decision_id from postmeter.month_export m) e
    order by e.number desc limit 1;
    if coalesce(said ->> 'format', '') not in ('postmeter-ledger/1', 'postmeter-ledger/2')
        or said ->> 'month' is distinct from to_char(record_ledger_export.month, 'YYYY-MM')
       or (said ->> 'number')::integer is distinct from coalesce(before.number, 0) + 1
           or said ->> 'previous' is distinct from before.digest then
        raise exception 'the manifest does not follow the last one' using errcode = 'PM042', column = 'manifest',
            constraint = 'ledger_chain', hint = 'Another export may have run: export it again.';
    end if;
    -- a shadow whose catalogue is mended later must not count into a month that is exported
    perform postmeter.forget_shadow_usage(record_ledger_export.month);
    perform postmeter.check_ledger_rows(record_ledger_export.month, manifest);
    insert into postmeter.decision (who, why, verb, detail)
    values (who, why, 'export', jsonb_build_object('month', record_ledger_export.month, 'digest', digest))
        returning id into made;
    insert into postmeter.ledger_export (month, number, manifest, digest, decision_id)
    values (record_ledger_export.month, (said ->> 'number')::integer, manifest, digest, made);
    return digest;
end
$$;
comment on function postmeter.record_ledger_export(date, text, text, text) is
    'Records the manifest of an export that was written and read again; returns its digest. Only of a finished '
    'month (PM041), in the order of exports (PM042), with the rows that are here (PM043). The same again changes '
    'nothing.';

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
comment on function postmeter.set_ledger_retention(interval, text, text) is
    'For how long the ledger is kept at least; null: for ever. Never for less than usage is taken (PM044). False: '
    'it was so already.';

create function postmeter.carry_ledger(month date) returns void
language plpgsql set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
    ids record;
begin
    select * into ids from postmeter.ledger_span(month);
    insert into postmeter.ledger_carry (month, place, org, product, metric, meter_metric_id, destination_id,
        delivery_id, subscription_id, hour, usages, quantity)
    select carry_ledger.month, 'recorded', u.org, u.product, u.metric, null::bigint, null::integer, null::bigint,
        null::bigint, null::timestamptz, count(*), sum(u.quantity)
    from postmeter.usage u where u.id >= ids.first_id and u.id < ids.until_id group by 3, 4, 5
    union all
    select carry_ledger.month, 'exempt', u.org, u.product, u.metric, null, null, null, null, null, count(*),
        sum(u.quantity)
    from postmeter.usage u join postmeter.exempted x on x.usage_id = u.id
    where u.id >= ids.first_id and u.id < ids.until_id group by 3, 4, 5
    union all
    select carry_ledger.month, 'written_off', u.org, u.product, u.metric, null, null, null, null, null, count(*),
        sum(u.quantity)
    from postmeter.usage u join postmeter.usage_written_off x on x.usage_id = u.id
    where u.id >= ids.first_id and u.id < ids.until_id group by 3, 4, 5
    union all
    select carry_ledger.month, 'allocated', s.org, mm.product, mm.metric, mm.id, a.destination_id, a.delivery_id, s.id,
        a.hour, count(*), sum(a.quantity)
    from postmeter.allocation a
    join postmeter.subscription s on s.id = a.subscription_id
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    where a.usage_id >= ids.first_id and a.usage_id < ids.until_id
        group by s.id, mm.id, a.destination_id, a.delivery_id, a.hour;
end
$$;
comment on function postmeter.carry_ledger(date) is
    'Writes down what a month of the ledger came to, before it is dropped.';

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
            using errcode = 'PM042', column = 'month', constraint = 'ledger_exported',
                hint = 'postmeter ledger export does it.';
    end if;
    if dry_run is false then
        perform postmeter.forget_shadow_usage(drop_ledger_month.month);
    end if;
    perform postmeter.check_ledger_rows(drop_ledger_month.month, exported.manifest);
    select * into ids from postmeter.ledger_span(drop_ledger_month.month);
    return query
    select t ->> 'table', (t ->> 'rows')::bigint,
           pg_total_relation_size(to_regclass(format('postmeter.%I',
               (t ->> 'table') || to_char(drop_ledger_month.month, '_YYYYMM'))))
    from jsonb_array_elements(exported.manifest::jsonb -> 'tables') t;
    if dry_run is not false then
        return;
    end if;
    closed := array(select c.decision_id from postmeter.ledger_closings(drop_ledger_month.month) c);
    perform postmeter.carry_ledger(drop_ledger_month.month);
    insert into postmeter.decision (who, why, verb, detail)
    values (who, why, 'drop', jsonb_build_object('month', drop_ledger_month.month, 'digest', exported.digest))
        returning id into made;
    insert into postmeter.ledger_drop (month, decision_id, used_from, used_until)
    select drop_ledger_month.month, made, min(u.used_at), max(u.used_at) from postmeter.usage u
        where u.id >= ids.first_id and u.id < ids.until_id;
    -- what repeats or corrects it could not be compared with it any more: it is too old from now on, whatever age is
    -- taken
    update postmeter.setting s set identities_from
        = greatest(s.identities_from, d.used_until + interval '1 microsecond')
    from postmeter.ledger_drop d where d.month = drop_ledger_month.month and d.used_until is not null;
    -- from here on no month is closed or opened again: those that were closed above must still be
    perform postmeter.month_gate();
    if (select count(*) from postmeter.closed_month c where c.decision_id = any (closed)) <> cardinality(closed) then
        raise exception 'a billing month was opened again meanwhile' using errcode = 'PM041', column = 'month',
            constraint = 'ledger_finished';
    end if;
    loop
        attempts := attempts + 1;
        begin
            -- only what the drop changes: a vacuum of another month is none of its business
            lock table only postmeter.usage, only postmeter.allocation, only postmeter.attempt,
                only postmeter.outcome in access exclusive mode;
            execute format('lock table postmeter.%I, postmeter.%I, postmeter.%I, postmeter.%I in access exclusive mode',
                variadic parts);
            lock table postmeter.usage_default, postmeter.allocation_default, postmeter.attempt_default,
                postmeter.outcome_default
                in access exclusive mode;
            exit;
        exception when lock_not_available then
            -- nobody queues behind us for longer than the lock_timeout
            if attempts >= 10 then
                raise exception 'somebody reads or vacuums the ledger: nothing was dropped' using errcode = '55P03',
                    hint = 'Try again later.';
            end if;
            perform pg_sleep(0.1);
        end;
    end loop;
    execute format('drop table postmeter.%I, postmeter.%I, postmeter.%I, postmeter.%I', variadic parts);
end
$$;
comment on function postmeter.drop_ledger_month(date, text, text, boolean) is
    'Drops a month of the ledger: its four partitions at once, never a row. Only if everything in it is finished '
    '(PM041), it was exported (PM042), and the rows are still those of the manifest (PM043). What it came to is '
    'carried in the balances; identities stay. Dry run unless told otherwise.';

-- What asks for remittances by name is told that they were dropped; what decides about them is refused.
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
        raise exception 'usage of % was dropped with the ledger of %: it cannot be recalculated here',
            to_char(month, 'YYYY-MM'), gone
            using errcode = 'PM045', column = 'month', constraint = 'ledger_kept',
                hint = 'The export holds it; postmeter.ledger_carry says what it came to.';
    end if;
    perform postmeter.check_month_kept((select t.id from postmeter.destination t
        where t.name = check_ledger_kept.destination), month);
end
$$;
comment on function postmeter.check_ledger_kept(text, date) is
    'Refuses to recalculate a month whose usage was dropped (PM045).';
