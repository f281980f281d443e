-- Proving the balance, and reading the ledger again.

create function postmeter.prove_balance_anew() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    asked bigint;
begin
    insert into postmeter.balance_anew (meter_id)
    select m.id from postmeter.meter m union select p.meter_id from postmeter.proven_meter p order by 1
    on conflict (meter_id) do update set after = 0, asked_at = excluded.asked_at;
    get diagnostics asked = row_count;
    update postmeter.balance_check b
    set round_at = clock_timestamp(), round_ends_at = clock_timestamp(), meters_after = null, usage_after = '',
        round_seconds = 0, next_at = '-infinity';
    return asked;
end
$$;
comment on function postmeter.prove_balance_anew() is
    'Takes every proof back: all meters and all usage are read again from the beginning, by the workers'' checks '
    'or by postmeter balance --prove. Returns how many meters.';

create function postmeter.check_proof_state() returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') = 'read committed' then
        raise exception 'a proof needs one moment for all it reads' using errcode = '25000',
            hint = 'begin isolation level repeatable read; lock table postmeter.balance_gate';
    end if;
end
$$;
comment on function postmeter.check_proof_state() is 'Refuses to prove where each statement sees another moment.';

create function postmeter.read_remittances(meters bigint[], deliveries bigint[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
declare
    pairs bigint;
begin
    with pair as materialized (
        select distinct p.meter_id, p.delivery_id from unnest(meters, deliveries) p(meter_id, delivery_id)
    ), fresh as materialized (
        select r.meter_id, r.delivery_id, r.denominator, r.remains
        from postmeter.remittance_balance r
        where r.meter_id = any (meters) and r.delivery_id = any (deliveries)
    ), change as materialized (
        select p.meter_id, p.delivery_id, f.denominator, coalesce(f.remains, 0) as remains,
               k.denominator as denominator_before, coalesce(k.remains, 0) as remains_before
        from pair p
        left join fresh f on f.meter_id = p.meter_id and f.delivery_id = p.delivery_id
        left join postmeter.proven_remittance k on k.meter_id = p.meter_id and k.delivery_id = p.delivery_id
    ), gone as (
        delete from postmeter.proven_remittance k using change c
        where k.meter_id = c.meter_id and k.delivery_id = c.delivery_id and c.remains = 0
    ), kept as (
        insert into postmeter.proven_remittance (meter_id, delivery_id, denominator, remains)
        select c.meter_id, c.delivery_id, c.denominator, trim_scale(c.remains) from change c where c.remains <> 0
        on conflict (meter_id, delivery_id) do update set denominator = excluded.denominator, remains = excluded.remains
    ), meter as materialized (
        select b.meter_id, b.denominator from postmeter.meter_balance b where b.meter_id = any (meters)
    ), total as (
        select x.meter_id, x.denominator,
               sum(x.remains * (x.denominator / coalesce(x.denominator_now, x.denominator))
                   - x.remains_before * (x.denominator / coalesce(x.denominator_before, x.denominator))) as more
        from (select c.meter_id, c.remains, c.remains_before, c.denominator_before, c.denominator as denominator_now,
                     -- a meter that is gone: as it was
                     coalesce(m.denominator, (select max(k.denominator) from postmeter.proven_remittance k
                         where k.meter_id = c.meter_id), 1) as denominator
              from change c left join meter m on m.meter_id = c.meter_id) x
        group by 1, 2
    ), totals as (
        insert into postmeter.proven_meter as p (meter_id, denominator, remains)
        select t.meter_id, t.denominator, t.more from total t
        on conflict (meter_id) do update
        set remains = trim_scale(p.remains * (excluded.denominator / p.denominator) + excluded.remains),
            denominator = excluded.denominator
    )
    select count(*) into pairs from pair;
    return pairs;
end
$$;
comment on function postmeter.read_remittances(bigint[], bigint[]) is
    'Reads what these remittances leave on these meters, pair by pair, and keeps it.';

create function postmeter.prove_moved(meters bigint[]) returns table (remittances bigint, proven bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    on_meters  bigint[];
    of_these   bigint[];
begin
    perform postmeter.check_proof_state();
    with gone as (
        delete from postmeter.balance_moved m where m.meter_id = any (prove_moved.meters)
            returning m.meter_id, m.delivery_id
    )
    select array_agg(g.meter_id), array_agg(g.delivery_id) into on_meters, of_these
    from (select distinct x.meter_id, x.delivery_id from gone x where x.delivery_id is not null) g;
    remittances := postmeter.read_remittances(on_meters, of_these);
    insert into postmeter.proven_meter (meter_id, denominator, remains)
    select m.id, 1, 0 from unnest(prove_moved.meters) m(id)
    on conflict do nothing;
    with meter as materialized (
        select b.meter_id, b.denominator, b.holds from postmeter.meter_balance b
            where b.meter_id = any (prove_moved.meters)
    ), closed as materialized (
        select p.meter_id, p.remains * (coalesce(b.denominator, p.denominator) / p.denominator) - coalesce(b.holds,
            0) as difference
        from postmeter.proven_meter p
        left join meter b on b.meter_id = p.meter_id
        where p.meter_id = any (prove_moved.meters)
          and not exists (select from postmeter.balance_anew w where w.meter_id = p.meter_id)
    ), suspect as (
        -- nobody is accused by what was kept: all of it is read again first
        insert into postmeter.balance_anew (meter_id) select c.meter_id from closed c where c.difference <> 0
    ), written as (
        update postmeter.proven_meter p set difference = 0, proven_at = clock_timestamp()
        from closed c where p.meter_id = c.meter_id and c.difference = 0
        returning 1
    )
    select count(*) into proven from written;
    return next;
end
$$;
comment on function postmeter.prove_moved(bigint[]) is
    'Proves these meters from what was written since and what is kept of the rest. One whose balance does not '
    'close that way is read again whole before anybody says so.';

create function postmeter.prove_anew(meters bigint[], most integer)
returns table (remittances bigint, proven bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
declare
    on_meters bigint[];
    of_these  bigint[];
    finished  bigint[];
begin
    perform postmeter.check_proof_state();
    select array_agg(w.meter_id), array_agg(x.delivery_id) into on_meters, of_these
    from postmeter.balance_anew w
    cross join lateral (
        select y.delivery_id
        from (select d.id as delivery_id from postmeter.delivery d where d.meter_id = w.meter_id and d.id > w.after
              union select p.delivery_id from postmeter.part p where p.meter_id = w.meter_id and p.delivery_id > w.after
              union select c.delivery_id from postmeter.cut c where c.meter_id = w.meter_id and c.delivery_id > w.after
              union select k.delivery_id from postmeter.proven_remittance k where k.meter_id = w.meter_id
                  and k.delivery_id > w.after) y
        order by y.delivery_id limit most) x
    where w.meter_id = any (prove_anew.meters);
    remittances := postmeter.read_remittances(on_meters, of_these);
    update postmeter.balance_anew w set after = x.last
    from (select p.meter_id, max(p.delivery_id) as last from unnest(on_meters, of_these) p(meter_id, delivery_id)
        group by 1) x
    where w.meter_id = x.meter_id;
    with finished_now as (
        delete from postmeter.balance_anew w
        where w.meter_id = any (prove_anew.meters)
          and (select count(*) from unnest(on_meters) p(meter_id) where p.meter_id = w.meter_id) < most
        returning w.meter_id
    )
    select array_agg(f.meter_id) into finished from finished_now f;
    -- everything of these has been read: what was kept of the sum does not count any more
    with meter as materialized (
        select b.meter_id, b.denominator, b.holds from postmeter.meter_balance b where b.meter_id = any (finished)
    ), total as materialized (
        select f.id, coalesce(b.denominator, 1) as denominator, coalesce(b.holds, 0) as holds,
               (select coalesce(sum(k.remains * (coalesce(b.denominator, 1) / k.denominator)), 0)
                from postmeter.proven_remittance k where k.meter_id = f.id) as remains,
               -- what is marked is proven with its mark
               not exists (select from postmeter.balance_moved v where v.meter_id = f.id) as is_all
        from unnest(finished) f(id)
        left join meter b on b.meter_id = f.id
    )
    insert into postmeter.proven_meter as p (meter_id, denominator, remains, difference, proven_at, read_at)
    select t.id, t.denominator, t.remains, case when t.is_all then trim_scale(t.remains - t.holds) end, case
        when t.is_all then clock_timestamp() end,
           clock_timestamp()
    from total t
    on conflict (meter_id) do update
    set denominator = excluded.denominator, remains = excluded.remains, read_at = excluded.read_at,
        difference = coalesce(excluded.difference, p.difference), proven_at = coalesce(excluded.proven_at, p.proven_at);
    get diagnostics proven = row_count;
    return next;
end
$$;
comment on function postmeter.prove_anew(bigint[], integer) is
    'Reads all remittances of these meters again, at most so many of each at a time; a meter of which all were '
    'read is proven from them.';

create function postmeter.prove_slices(slices text[]) returns table (orgs bigint, open bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
    run record;
    n   bigint;
    bad bigint;
    who text;
begin
    orgs := 0;
    open := 0;
    -- neighbours are read together
    for run in
        select min(x.slice) as first, max(x.slice) as last
        from (select s.slice, ('x' || s.slice)::bit(32)::bigint - row_number() over (order by s.slice) as run
              from (select distinct u.slice collate "C" as slice from unnest(slices) u(slice)) s) x
        group by x.run order by 1
    loop
        select * into n, bad, who from postmeter.prove_usage(run.first, run.last);
        orgs := orgs + n;
        open := open + bad;
    end loop;
    return next;
end
$$;
comment on function postmeter.prove_slices(text[]) is 'Proves that all usage of these slices is somewhere.';

create function postmeter.prove_usage(first text, last text, out checked bigint, out open bigint, out example text)
returns record
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
    perform postmeter.check_proof_state();
    if first !~ '^[0-9a-f]{8}$' or last !~ '^[0-9a-f]{8}$' then
        raise exception 'a slice has eight digits' using errcode = '22023';
    end if;
    delete from postmeter.usage_moved m where m.slice >= prove_usage.first collate "C"
        and m.slice <= prove_usage.last collate "C";
    -- written out, so that only partitions that have such usage are looked at, or waited for
    execute format($q$
        select count(*), count(*) filter (where b.left_over <> 0 or b.left_usages <> 0),
               (array_agg(format('%%s %%s %%s: %%s', b.org, b.product, b.metric, trim_scale(b.left_over))
                   order by b.org)
                filter (where b.left_over <> 0 or b.left_usages <> 0))[1]
        from (select p.org, p.product, p.metric, sum(p.left_over) as left_over, sum(p.left_usages) as left_usages
              from postmeter.usage_place p where p.usage_id >= %L::uuid and p.usage_id <= %L::uuid
                  group by 1, 2, 3) b $q$,
        first || '-0000-0000-0000-000000000000', last || '-ffff-ffff-ffff-ffffffffffff')
    into checked, open, example;
    delete from postmeter.usage_open o where o.first >= prove_usage.first collate "C"
        and o.last <= prove_usage.last collate "C";
    insert into postmeter.usage_open (first, last, open, example)
    select prove_usage.first, prove_usage.last, prove_usage.open, prove_usage.example
    where prove_usage.open > 0
      and not exists (select from postmeter.usage_open o where o.first <= prove_usage.first collate "C"
          and o.last >= prove_usage.last collate "C");
end
$$;
comment on function postmeter.prove_usage(text, text) is
    'Proves that all usage of these slices, and of those between them, is somewhere (usage_place), and keeps it if '
    'it is not.';

create function postmeter.prove_carried() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    bad bigint;
    who text;
begin
    select count(*), min(format('%s %s %s of %s: %s', b.org, b.product, b.metric, to_char(b.month, 'YYYY-MM'),
        trim_scale(b.left_over)))
    into bad, who
    from (select p.month, p.org, p.product, p.metric, sum(p.left_over) as left_over, sum(p.left_usages) as left_usages
          from postmeter.carried_place p group by 1, 2, 3, 4) b
    where b.left_over <> 0 or b.left_usages <> 0;
    delete from postmeter.usage_open o where o.first = 'carried';
    insert into postmeter.usage_open (first, last, open, example) select 'carried', 'carried', bad, who where bad > 0;
    return bad;
end
$$;
comment on function postmeter.prove_carried() is
    'Proves that all usage of dropped months was somewhere (carried_place), and keeps it if it was not. Returns '
    'how many orgs'' metrics do not add up.';

create function postmeter.ask_meters_anew(many integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    asked bigint[];
begin
    asked := array(
        select x.id from (
            (select m.id from postmeter.meter m, postmeter.balance_check b where m.id > b.meters_after
                order by 1 limit many)
            union
            -- one that is gone is missed
            (select p.meter_id from postmeter.proven_meter p, postmeter.balance_check b
                where p.meter_id > b.meters_after order by 1 limit many)) x
        order by 1 limit many);
    insert into postmeter.balance_anew (meter_id) select a.id from unnest(asked) a(id) on conflict do nothing;
    -- null: that was all
    update postmeter.balance_check b set meters_after = case when cardinality(asked) = many then asked[many] end;
    return cardinality(asked);
end
$$;
comment on function postmeter.ask_meters_anew(integer) is
    'The next so many meters whose turn it is to be read again. Returns how many.';

create function postmeter.next_usage_anew(many integer, out first text, out last text) returns record
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    after text := (select b.usage_after from postmeter.balance_check b);
begin
    if after is null or after = 'ffffffff' then
        return;
    end if;
    first := case when after = '' then '00000000' else lpad(to_hex(('x' || after)::bit(32)::bigint + 1), 8, '0') end;
    last := (select left(u.id::text, 8) from postmeter.usage u
             where u.id >= (next_usage_anew.first || '-0000-0000-0000-000000000000')::uuid
                 order by u.id offset many - 1 limit 1);
    last := coalesce(last, 'ffffffff');
end
$$;
comment on function postmeter.next_usage_anew(integer) is
    'The next slices whose turn it is to be read again, with about so many usages. Null: there are none.';

create function postmeter.read_usage_anew(until text) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.balance_check b set usage_after = nullif(until, 'ffffffff')
$$;
comment on function postmeter.read_usage_anew(text) is 'Usage up to this slice was read again in turn.';

create function postmeter.ask_open_anew() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    broken bigint := (select max(x.id) from postmeter.timeline_break x);
    asked  bigint;
begin
    -- noticed here and not by a trigger: whoever says that commits were lost waits for no proof
    if broken > (select b.break_id from postmeter.balance_check b) then
        asked := postmeter.prove_balance_anew();
        update postmeter.balance_check b set break_id = broken;
        return asked;
    end if;
    insert into postmeter.balance_anew (meter_id)
    select p.meter_id from postmeter.proven_meter p where p.difference <> 0 order by 1
    on conflict do nothing;
    get diagnostics asked = row_count;
    return asked;
end
$$;
comment on function postmeter.ask_open_anew() is
    'Begins a proof: meters that did not close when they were proven last are read again whole; after commits were '
    'lost, all are. Returns how many.';

create function postmeter.read_again_over() returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with n as materialized (select clock_timestamp() as now), next as materialized (
        -- a fiftieth of the time at most, but once a day
        select n.now, greatest(n.now, x.round_at + make_interval(secs => least(60 * x.round_seconds, 86400))) as at
        from postmeter.balance_check x, n
    )
    update postmeter.balance_check b
    set whole_from = b.round_at, whole_until = n.now, whole_seconds = b.round_seconds, round_seconds = 0,
        meters_after = 0, usage_after = '', round_at = n.at,
            round_ends_at = n.at + make_interval(secs => least(50 * b.round_seconds, 72000))
    from next n
$$;
comment on function postmeter.read_again_over() is
    'The whole ledger was read again: says between when, and when that begins anew. The next time takes as much of '
    'the time as this one took, fifty times over, and 20 hours at most; it begins a day after this one at the '
    'latest.';

create function postmeter.read_again_took(seconds double precision) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.balance_check b set round_seconds = b.round_seconds + read_again_took.seconds
$$;
comment on function postmeter.read_again_took(double precision) is 'Notes how long reading again took.';
