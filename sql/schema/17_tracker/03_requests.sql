-- Gathering request statuses into requests.

create function postmeter.request_floor_now() returns postmeter.request_floor
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- a database that was loaded into another cluster, where transactions count anew, begins from the start
    select true, case when f.xid <= pg_snapshot_xmin(pg_current_snapshot()) then f.xid else '0' end,
           case when f.xid <= pg_snapshot_xmin(pg_current_snapshot()) then f.id else 0 end
    from postmeter.request_floor f
$$;
comment on function postmeter.request_floor_now() is 'The floor, or zero if it is not of this cluster.';

create function postmeter.gather_requests(most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off set enable_mergejoin = off
    set enable_seqscan = off set plan_cache_mode = force_custom_plan
as $$
declare
    keys     text[];
    dates    timestamptz[];
    digests  uuid[];
    kinds    bigint[];
    messages bigint[];
    moments  timestamptz[];
    gathered integer;
    floor    postmeter.request_floor;
    ended    xid8;
    last_xid xid8;
    last_id  bigint;
begin
    -- Planned by hand: every look-up in a large table is lateral, by its primary key (a range of one moment keeps the
    -- planner from the index by date, where thousands may share a date); what is joined otherwise is small.
    -- What was committed before this statement is seen by it; if another gathers, wait until it has.
    floor := postmeter.request_floor_now();
    if not exists (select from postmeter.request_news n where (n.xid, n.id) >= (floor.xid, floor.id)) then
        return 0;
    end if;
    perform postmeter.take_gate('gather_requests');
    floor := postmeter.request_floor_now();
    -- transactions before this one have ended, so the next statement sees all that they recorded
    ended := pg_snapshot_xmin(pg_current_snapshot());
    -- The last of them first, and then one range of the key: this table is usually empty when it is vacuumed, so plans
    -- are made for one row, and would ask for the first so many again for each of ten thousand.
    select x.xid, x.id into last_xid, last_id
    from (select n.xid, n.id from postmeter.request_news n where (n.xid, n.id) >= (floor.xid, floor.id)
          order by n.xid, n.id limit most) x
    order by x.xid desc, x.id desc limit 1;
    with gone as (
        delete from postmeter.request_news n
        where (n.xid, n.id) >= (floor.xid, floor.id) and (n.xid, n.id) <= (last_xid, last_id)
        returning n.xid, n.id, n.request_key, n.date, n.digest, n.kind, n.message, n.recorded_at
    )
    select array_agg(g.request_key), array_agg(g.date), array_agg(g.digest), array_agg(g.kind), array_agg(g.message),
           array_agg(g.recorded_at), count(*), (array_agg(g.xid order by g.xid desc, g.id desc))[1],
               (array_agg(g.id order by g.xid desc, g.id desc))[1]
    into keys, dates, digests, kinds, messages, moments, gathered, last_xid, last_id from gone g;
    if gathered < most or last_xid >= ended then
        last_xid := ended; last_id := -1;
    end if;
    update postmeter.request_floor f set xid = last_xid, id = last_id + 1;
    if gathered = 0 then
        return 0;
    end if;

    insert into postmeter.request_status_kind (kind, service, source, status, total)
    select n.kind, r.service, r.source, r.status, 0
    from (select distinct on (x.kind) x.* from unnest(keys, dates, digests, kinds) x(key, date, digest, kind)
          where x.kind not in (select k.kind from postmeter.request_status_kind k) order by x.kind) n
    cross join lateral (
        select r.service, r.source, r.status from postmeter.request_status r
        where r.request_key = n.key and r.date >= n.date and r.date <= n.date and r.digest = n.digest offset 0
    ) r
    order by n.kind
    on conflict do nothing;
    update postmeter.request_status_kind k set total = k.total + n.n
    from (select x.kind, count(*) as n from unnest(kinds) x(kind) group by 1) n where k.kind = n.kind;
    insert into postmeter.request_status_count as c (kind, hour, recorded_hour, n)
    select n.kind, postmeter.hour_of(n.date), postmeter.hour_of(n.recorded_at), count(*)
    from unnest(kinds, dates, moments) n(kind, date, recorded_at) group by 1, 2, 3
    on conflict (kind, hour, recorded_hour) do update set n = c.n + excluded.n;
    insert into postmeter.request_message_count as c (message, kind, hour, recorded_hour, n)
    select n.message, n.kind, postmeter.hour_of(n.date), postmeter.hour_of(n.recorded_at), count(*)
    from unnest(messages, kinds, dates, moments) n(message, kind, date, recorded_at) group by 1, 2, 3, 4
    on conflict (message, kind, hour, recorded_hour) do update set n = c.n + excluded.n;

    perform postmeter.compute_requests(keys, dates, digests, moments, '{}');
    return gathered;
end
$$;
comment on function postmeter.gather_requests(integer) is
    'Counts request statuses that nobody has counted yet, at most so many, and computes their requests anew; '
    'returns how many. One at a time; a second caller waits.';

create function postmeter.create_request_partitions(days_ahead integer, days_back integer default 1)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set TimeZone = 'UTC' set lock_timeout = '200ms'
as $$
declare
    columns text :=
        'request_key, date, digest, request_id, service, source, status, status_msg, account, org, inventory_id, '
            'system_id, recorded_at, number';
    today   timestamptz := date_trunc('day', postmeter.clock(), 'UTC');
    horizon timestamptz := (select date_trunc('day', postmeter.clock() - s.tracker_retention, 'UTC')
        from postmeter.setting s);
    day     timestamptz;
    name    text;
    made    integer := 0;
begin
    if not postmeter.try_gate('create_request_partitions') then
        return 0;
    end if;
    for day in
        select g from generate_series(today - make_interval(days => days_back),
            today + make_interval(days => days_ahead), '1 day') g where g >= horizon
        union
        select date_trunc('day', d.date, 'UTC') from postmeter.request_status_default d
        where d.date >= horizon and d.date < today + make_interval(days => days_ahead + 1)
        order by 1
    loop
        name := 'request_status_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass('postmeter.' || name) is not null;
        begin
            -- attached rather than created as a partition: that would lock the parent against readers
            execute
                format('create table postmeter.%I (like postmeter.request_status including defaults including '
                    'generated including indexes)', name);
            execute format('comment on table postmeter.%I is %L', name,
                'Request statuses of ' || to_char(day, 'YYYY-MM-DD') || '.');
            lock table postmeter.request_status_default in access exclusive mode;
            perform set_config('postmeter.moves_statuses', 'on', true);
            execute
                format('insert into postmeter.%I (%s) select %s from postmeter.request_status_default where date >= '
                    '%L and date < %L',
                           name, columns, columns, day, day + interval '1 day');
            delete from postmeter.request_status_default d where d.date >= day and d.date < day + interval '1 day';
            perform set_config('postmeter.moves_statuses', 'off', true);
            execute
                format('alter table postmeter.request_status attach partition postmeter.%I for values from (%L) to '
                    '(%L)',
                           name, day, day + interval '1 day');
            execute
                format('create trigger append_only before update or delete or truncate on postmeter.%I for each '
                    'statement execute function postmeter.forbid_change()', name);
        exception when lock_not_available then
            -- somebody reads: the next round tries again, and nobody queues behind us for long
            perform set_config('postmeter.moves_statuses', 'off', true);
            continue;
        end;
        made := made + 1;
    end loop;
    return made;
end
$$;
comment on function postmeter.create_request_partitions(integer, integer) is
    'Makes the day partitions of request_status for so many days back and ahead, and for every day within the '
    'retention that has rows in the default partition, which it moves. Returns how many were made; those it could '
    'not lock at once are left for the next call.';

create function postmeter.drop_request_partitions() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set TimeZone = 'UTC' set lock_timeout = '200ms'
as $$
declare
    horizon timestamptz := (select date_trunc('day', postmeter.clock() - s.tracker_retention, 'UTC')
        from postmeter.setting s);
    name    text;
    day     timestamptz;
    dropped integer := 0;
begin
    -- gather counts whole days while they are there
    perform postmeter.take_gate('gather_requests');
    for name in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'postmeter.request_status'::regclass and c.relname ~ '^request_status_[0-9]{8}$'
                    order by 1 loop
        day := to_timestamp(right(name, 8), 'YYYYMMDD');
        exit when day >= horizon;
        begin
            execute format('drop table postmeter.%I', name);
        exception when lock_not_available then
            return dropped;
        end;
        delete from postmeter.request_news n where n.date >= day and n.date < day + interval '1 day';
        delete from postmeter.request_status_count c where c.hour >= day and c.hour < day + interval '1 day';
        delete from postmeter.request_message_count c where c.hour >= day and c.hour < day + interval '1 day';
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$$;
comment on function postmeter.drop_request_partitions() is
    'Drops the day partitions of request_status beyond setting.tracker_retention, with their counts. Returns how '
    'many; those it could not lock at once are left for the next call.';

create function postmeter.request_steps(key text)
returns table (date timestamptz, service text, source text, status text, status_msg text, org text, account text,
    delivery_id bigint, usage_id uuid)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with used as materialized (
        select u.* from postmeter.usage u where (select postmeter.requests_indexed()) and u.request_id is not null
            and postmeter.request_key_of(u.request_id) = key
        order by u.id limit 1000
    ), remitted as materialized (
        select d.id, t.name as destination, d.status, d.reason, d.hour, d.quantity, d.cut_at, d.changed_at,
               min(u.org) as org, min(u.account) as account
        from used u
        join postmeter.allocation a on a.usage_id = u.id
        join postmeter.delivery d on d.id = a.delivery_id
        join postmeter.destination t on t.id = a.destination_id
        group by 1, 2, 3, 4, 5, 6, 7, 8
    )
    select u.recorded_at, 'postmeter', '', 'received',
        format('usage %s of %s: %s %s of %s', u.event_id, u.source, trim_scale(u.quantity), u.metric, u.product),
           u.org, coalesce(u.account, ''), null::bigint, u.id
    from used u
    union all
    select u.recorded_at, 'postmeter', '', 'success',
        format('usage %s of %s: exempt, %s', u.event_id, u.source, e.reason), u.org,
           coalesce(u.account, ''), null, u.id
    from used u join postmeter.exempted x on x.usage_id = u.id join postmeter.exemption e on e.id = x.exemption_id
    union all
    select h.held_at, 'postmeter', coalesce(t.name, ''), 'held',
        format('usage %s of %s: %s', u.event_id, u.source, h.reason), u.org,
           coalesce(u.account, ''), null, u.id
    from used u join postmeter.held h on h.usage_id = u.id left join postmeter.destination t on t.id = h.destination_id
    union all
    select r.cut_at, 'postmeter', r.destination, 'processing',
        format('remittance %s: hour cut, %s to send', r.id, r.quantity), r.org,
           coalesce(r.account, ''), r.id, null
    from remitted r where r.cut_at is not null and r.status <> 'open'
    union all
    select f.claimed_at, 'postmeter', r.destination, 'sent', format('remittance %s: attempt 1', r.id), r.org,
        coalesce(r.account, ''), r.id, null
    from remitted r
    cross join lateral (select a.claimed_at from postmeter.attempt a where a.delivery_id = r.id order by a.id limit 1) f
    union all
    select r.changed_at, 'postmeter', r.destination,
           case r.status when 'accepted' then 'success' when 'nothing_due' then 'success' when 'dry_run' then 'success'
                         when 'held' then 'held' when 'unknown' then 'unknown' else 'error' end,
           concat_ws(', ', format('remittance %s: %s', r.id, replace(r.status, '_', ' ')), r.reason,
                     (select nullif(concat_ws(': ', o.outcome, o.code), '') from postmeter.attempt a
                      join postmeter.outcome o on o.attempt_id = a.id where a.delivery_id = r.id
                          order by a.id desc limit 1)),
           r.org, coalesce(r.account, ''), r.id, null
    from remitted r where r.status not in ('open', 'due', 'in_flight')
$$;
comment on function postmeter.request_steps(text) is
    'What Postmeter itself did with the usage of a request (by request_key), as statuses of a service: received, '
    'held, cut, sent, and how it ended at each destination. Computed from the ledger, never stored.';

create function postmeter.put_request_news_behind() returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    floor postmeter.request_floor;
    moved text;
begin
    perform postmeter.take_gate('gather_requests');
    floor := postmeter.request_floor_now();
    with gone as (
        delete from postmeter.request_news n
        where (n.xid, n.id) = (select x.xid, x.id from postmeter.request_news x
            where (x.xid, x.id) >= (floor.xid, floor.id)
                               order by x.xid, x.id limit 1)
        returning n.request_key, n.date, n.digest, n.kind, n.message, n.recorded_at
    )
    insert into postmeter.request_news (request_key, date, digest, kind, message, recorded_at)
    select g.request_key, g.date, g.digest, g.kind, g.message, g.recorded_at from gone g
    returning request_key into moved;
    return moved;
end
$$;
comment on function postmeter.put_request_news_behind() is
    'Puts the first request status that gather has not counted behind all others: alone, it could not be gathered. '
    'Returns its request''s key; null: there is none.';

create function postmeter.tracker_words() returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp set IntervalStyle = postgres
as $$
    select hashtextextended(jsonb_build_array(s.tracker_success, s.tracker_failure, s.tracker_begun, s.tracker_lead_max,
        (select jsonb_agg(jsonb_build_array(r.after, r.status, r.service, r.within) order by r.after, r.status,
            r.service)
         from postmeter.route r))::text, 0)
    from postmeter.setting s
$$;
comment on function postmeter.tracker_words() is
    'Hash of the words and rules that outcomes of requests are computed by: when it changes, they are computed '
    'anew.';
