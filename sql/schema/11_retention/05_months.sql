-- Billing months: what is not finished, and whether an export is of their rows.

-- Which billing months may go.
create function postmeter.month_unfinished(destination text, month date) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
    t   postmeter.destination;
    bad record;
begin
    select x.* into t from postmeter.destination x where x.name = month_unfinished.destination;
    if t.shadow_of is null
       and not exists (select from postmeter.closed_month c where c.destination_id = t.id
           and c.month = month_unfinished.month) then
        return format('%s of %s is not closed', to_char(month, 'YYYY-MM'), t.name);
    end if;
    -- of its own keys, and of others that count on its meters
    select k.id, d.status, d.maybe_billed into bad
    from (select o.id from postmeter.meter m join postmeter.delivery o on o.meter_id = m.id
          where m.destination_id = t.id and m.month = month_unfinished.month
          union
          select p.delivery_id from postmeter.meter m join postmeter.part p on p.meter_id = m.id
          where m.destination_id = t.id and m.month = month_unfinished.month) k
    join postmeter.delivery d on d.id = k.id
    where d.maybe_billed or d.status in ('open', 'due', 'in_flight')
       or not d.shadow and d.status not in ('accepted', 'nothing_due', 'dry_run', 'written_off', 'released')
    order by d.id limit 1;
    if found then
        return format('remittance %s %s', bad.id,
                      case when bad.maybe_billed then 'may have been billed'
                          else 'is ' || replace(bad.status, '_', ' ') end);
    end if;
    -- a question that nobody could answer afterwards
    select q.id, q.what into bad
    from (select c.delivery_id as id, format('has contradiction %s open', c.id) as what from postmeter.contradiction c
          where c.decision_id is null and c.delivery_id is not null
          union all select x.delivery_id, 'may have been sent in the time that was lost' from postmeter.doubt x
              where x.decision_id is null
          union all select u.delivery_id, 'is not confirmed since commits were lost' from postmeter.unconfirmed u
          union all select w.delivery_id, 'stands for no hour' from postmeter.withheld w
              join postmeter.delivery h on h.id = w.delivery_id and h.status = 'held'
          union all select e.delivery_id, 'has an answer that nobody has read' from postmeter.late_evidence e
                    join postmeter.delivery r on r.id = e.delivery_id and e.id > r.evidence_read) q
    join postmeter.delivery d on d.id = q.id
    join postmeter.meter m on m.destination_id = t.id and m.month = month_unfinished.month
     and (m.id = d.meter_id or exists (select from postmeter.part p where p.delivery_id = d.id and p.meter_id = m.id))
    order by q.id limit 1;
    if found then
        return format('remittance %s %s', bad.id, bad.what);
    end if;
    -- a remittance that bills quantity of two months goes with the later one, and both are closed
    select d.id, o.month into bad
    from postmeter.meter m
    join postmeter.part p on p.meter_id = m.id
    join postmeter.delivery d on d.id = p.delivery_id
    join postmeter.meter o on o.id = d.meter_id and o.month <> m.month
    where m.destination_id = t.id and m.month = month_unfinished.month and t.shadow_of is null
      and not exists (select from postmeter.closed_month c where c.destination_id = o.destination_id
          and c.month = o.month)
    order by d.id limit 1;
    if found then
        return format('remittance %s of %s bills quantity of it, and that month is not closed', bad.id,
            to_char(bad.month, 'YYYY-MM'));
    end if;
    select d.id, o.month into bad
    from postmeter.meter m
    join postmeter.delivery d on d.meter_id = m.id
    join postmeter.part p on p.delivery_id = d.id
    join postmeter.meter o on o.id = p.meter_id and o.month <> m.month
    where m.destination_id = t.id and m.month = month_unfinished.month
    order by d.id limit 1;
    if found then
        return format('remittance %s bills quantity of %s, too: that month goes first', bad.id,
            to_char(bad.month, 'YYYY-MM'));
    end if;
    return null;
end
$$;
comment on function postmeter.month_unfinished(text, date) is
    'Why a billing month may not be exported with its remittances: what is not finished in it; null: all is.';

create function postmeter.month_drop_why_not(destination text, month date, without date default null)
returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set jit = off set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    t        postmeter.destination;
    bad      record;
    why_not  text;
    first_id uuid := (select i.first_id from postmeter.ledger_span(without) i);
    until_id uuid := (select i.until_id from postmeter.ledger_span(without) i);
begin
    perform postmeter.check_destination(destination);
    if month is null or extract(day from month) <> 1 then
        raise exception 'a month is named by its first day, not by %', coalesce(month::text, 'nothing')
            using errcode = 'PM036', column = 'month', constraint = 'month_first_day';
    end if;
    select x.* into t from postmeter.destination x where x.name = month_drop_why_not.destination;
    select x.finished_at is not null as is_done into bad from postmeter.dropped_month x
    where x.destination_id = t.id and x.month = month_drop_why_not.month;
    if found then
        return case when bad.is_done then 'it was dropped' else 'it is being dropped' end;
    end if;
    -- of the ledger, each month that it reaches into is gone: its zone's midnights are not those of UTC
    select g.m into bad
    from generate_series(date_trunc('month', month::timestamp at time zone t.zone at time zone 'UTC'),
                         ((month + interval '1 month')::timestamp at time zone t.zone - interval '1 microsecond')
                             at time zone 'UTC',
                         interval '1 month') g(m)
    where to_regclass(format('postmeter.usage_%s', to_char(g.m, 'YYYYMM'))) is not null and g.m::date is distinct
        from without
    order by 1 limit 1;
    if found then
        return format('the ledger of %s is not dropped', to_char(bad.m, 'YYYY-MM'));
    end if;
    why_not := postmeter.month_unfinished(month_drop_why_not.destination, month_drop_why_not.month);
    if why_not is not null then
        return why_not;
    end if;
    -- late usage, and what was sent again, are in later months of the ledger
    select postmeter.moment_of(x.id) as at into bad
    from (select o.id as delivery_id, m.id as meter_id from postmeter.meter m
        join postmeter.delivery o on o.meter_id = m.id
          where m.destination_id = t.id and m.month = month_drop_why_not.month
          union all
          select p.delivery_id, m.id from postmeter.meter m join postmeter.part p on p.meter_id = m.id
          where m.destination_id = t.id and m.month = month_drop_why_not.month) k
    cross join lateral (
        (select a.usage_id as id from postmeter.allocation a join postmeter.meter_metric mm on mm.id = a.meter_metric_id
         where a.delivery_id = k.delivery_id and mm.meter_id = k.meter_id
           and (without is null or a.usage_id < first_id or a.usage_id >= until_id) limit 1)
        union all
        (select a.id from postmeter.attempt a
         where a.delivery_id = k.delivery_id and (without is null or a.id < first_id or a.id >= until_id) limit 1)) x
    limit 1;
    if found then
        return format('the ledger of %s, which is not dropped, has rows of it',
            to_char(bad.at at time zone 'UTC', 'YYYY-MM'));
    end if;
    return null;
end
$$;
comment on function postmeter.month_drop_why_not(text, date, date) is
    'Why the remittances of a billing month may not be dropped: the first reason that is found; null: they may, '
    'once they are exported. Without: as if that month of the ledger were dropped. It reads the whole month.';

create function postmeter.month_heads(destination text, month date)
returns table (table_name text, rows bigint, chain text, sums jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
    with meters as materialized (
        select m.id from postmeter.meter m join postmeter.destination t on t.id = m.destination_id
        where t.name = month_heads.destination and m.month = month_heads.month
    ), remittances as materialized (
        select d.id from meters m join postmeter.delivery d on d.meter_id = m.id
    )
    select 'delivery', count(*), encode(postmeter.chain_of(l.line), 'hex'),
        jsonb_build_object('quantity', trim_scale(coalesce(sum(l.quantity), 0))::text)
    from (select postmeter.ledger_line(r) as line, r.quantity as quantity from postmeter.delivery r
          where r.id in (select k.id from remittances k) order by r.id) l
    union all
    select 'cut', count(*), encode(postmeter.chain_of(l.line), 'hex'),
        jsonb_build_object('to_bill', trim_scale(coalesce(sum(l.quantity), 0))::text)
    from (select postmeter.ledger_line(r) as line, r.to_bill as quantity from postmeter.cut r
          where r.delivery_id in (select k.id from remittances k) order by r.delivery_id, r.meter_id, r.round) l
    union all
    select 'part', count(*), encode(postmeter.chain_of(l.line), 'hex'), '{}'
    from (select postmeter.ledger_line(r) as line from postmeter.part r
          where r.delivery_id in (select k.id from remittances k) order by r.delivery_id, r.meter_id) l
    union all
    select 'meter', count(*), encode(postmeter.chain_of(l.line), 'hex'), '{}'
    from (select postmeter.ledger_line(r) as line from postmeter.meter r where r.id in (select m.id from meters m)
        order by r.id) l
    union all
    select 'meter_metric', count(*), encode(postmeter.chain_of(l.line), 'hex'), '{}'
    from (select postmeter.ledger_line(r) as line from postmeter.meter_metric r
          where r.meter_id in (select m.id from meters m) order by r.id) l
$$;
comment on function postmeter.month_heads(text, date) is
    'Rows of a billing month, the heads of their hash chains, and their sums, as they are in the database now.';

create function postmeter.month_rows_differ(destination text, month date, manifest text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select h.table_name
    from postmeter.month_heads(month_rows_differ.destination, month_rows_differ.month) h
    left join jsonb_array_elements(manifest::jsonb -> 'tables') t on t ->> 'table' = h.table_name
    where (t ->> 'rows')::bigint is distinct from h.rows or t ->> 'chain' is distinct from h.chain
       or t -> 'sums' is distinct from h.sums limit 1
$$;
comment on function postmeter.month_rows_differ(text, date, text) is
    'A table whose rows of a billing month are not those of a manifest; null: all are. It reads them all.';

create function postmeter.check_month_rows(destination text, month date, manifest text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    bad text := postmeter.month_rows_differ(check_month_rows.destination, check_month_rows.month,
        check_month_rows.manifest);
begin
    if bad is not null then
        raise exception 'the rows of % of % at % are not those of its export', bad,
            to_char(check_month_rows.month, 'YYYY-MM'), check_month_rows.destination
            using errcode = 'PM043', column = 'manifest', constraint = 'month_rows',
                  hint = 'Something of it was decided since: export it again. Nothing is dropped.';
    end if;
end
$$;
comment on function postmeter.check_month_rows(text, date, text) is
    'Refuses a manifest that is not of a billing month''s rows in the database (PM043).';

create function postmeter.record_month_export(destination text, month date, manifest text, who text, why text)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t       postmeter.destination;
    before  record;
    said    jsonb := manifest::jsonb;
    print   text := encode(sha256(convert_to(manifest, 'UTF8')), 'hex');
    made    bigint;
    why_not text;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_destination(destination);
    select x.* into t from postmeter.destination x where x.name = record_month_export.destination;
    -- one chain: whoever records a month of the ledger waits, too
    lock table postmeter.ledger_export in share row exclusive mode;
    perform 1 from postmeter.month_export e where e.digest = print;
    if found then
        return print;
    end if;
    perform postmeter.check_month_kept(t.id, month);
    why_not := postmeter.month_unfinished(destination, month);
    if why_not is not null then
        raise exception '% of % is not finished: %', to_char(month, 'YYYY-MM'), destination, why_not
            using errcode = 'PM041', column = 'month', constraint = 'month_finished',
                hint = 'postmeter.ledger_month says it of every month.';
    end if;
    select e.number, e.digest into before
    from (select l.number, l.digest from postmeter.ledger_export l
          union all select m.number, m.digest from postmeter.month_export m) e order by e.number desc limit 1;
    if said ->> 'format' is distinct from 'postmeter-month/1' or said ->> 'destination' is distinct from destination
       or said ->> 'month' is distinct from to_char(record_month_export.month, 'YYYY-MM')
       or (said ->> 'number')::integer is distinct from coalesce(before.number, 0) + 1
           or said ->> 'previous' is distinct from before.digest then
        raise exception 'the manifest does not follow the last one' using errcode = 'PM042', column = 'manifest',
            constraint = 'ledger_chain', hint = 'Another export may have run: export it again.';
    end if;
    perform postmeter.check_month_rows(destination, month, manifest);
    insert into postmeter.decision (who, why, verb, destination_id, detail)
    values (who, why, 'export', t.id, jsonb_build_object('month', record_month_export.month, 'digest', print,
        'remittances', true)) returning id into made;
    insert into postmeter.month_export (number, destination_id, month, manifest, digest, decision_id)
    values ((said ->> 'number')::integer, t.id, record_month_export.month, manifest, print, made);
    return print;
end
$$;
comment on function postmeter.record_month_export(text, date, text, text, text) is
    'Records the manifest of a billing month''s export that was written and read again; returns its digest. Only '
    'of a finished month (PM041), in the order of exports (PM042), with the rows that are here (PM043). The same '
    'again changes nothing; a later one takes its place.';
