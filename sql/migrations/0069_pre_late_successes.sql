-- 0069_pre_late_successes: a success that comes late reads one message, not all; outcomes are computed anew newest first.
-- programs: from 0022
-- lock: access exclusive on request, grows with its rows: an index is built; services record meanwhile

alter table postmeter.request add column dated_ahead boolean;
comment on column postmeter.request.dated_ahead is
    'One of its messages is dated further ahead than allowed and counts by its recording, so its messages are not in order of their dates. Null: not known, computed before this was kept.';

-- squawk-ignore require-concurrent-index-creation -- gather waits meanwhile, services record
create index request_by_duration on postmeter.request ((last_date - first_date), request_key);

-- the count of what is left goes down from here on
update postmeter.request_recount set next_id = 9223372036854775807 where next_id is not null;
comment on column postmeter.request_recount.next_id is
    'Requests with this number and lower ones are still to be looked at; null: all were.';

create or replace function postmeter.compute_requests(keys text[], dates timestamptz[], digests uuid[], moments timestamptz[],
    anew text[])
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp set jit = off set enable_mergejoin = off set enable_seqscan = off
set plan_cache_mode = force_custom_plan
as $$
declare
    settings  postmeter.setting;
    words_now bigint := postmeter.tracker_words();
begin
    -- whoever computes by other words than those that all were looked through for makes the next look begin anew, also
    -- where the words are changed back meanwhile
    update postmeter.request_recount set words = words_now, next_id = 9223372036854775807
        where words is distinct from words_now;
    -- Planned by hand: every look-up in a large table is lateral, by its primary key (a range of one moment keeps the
    -- planner from the index by date, where thousands may share a date); what is joined otherwise is small.
    select * into settings from postmeter.setting;
    with news as materialized (
        select n.key collate "C" as key, n.date, n.digest, n.recorded_at
        from unnest(keys, dates, digests, moments) n(key, date, digest, recorded_at)
    ), touched as materialized (
        select n.key, min(n.date) as first_date, max(n.date) as last_date, max(n.recorded_at) as last_recorded_at,
            count(*) as n
        from (select * from news union all select a.key collate "C", null, null, null from unnest(anew) a(key)) n
        group by 1
    ), fresh as materialized (
        select r.*, case when r.date > r.recorded_at + settings.tracker_lead_max then r.recorded_at else r.date end as at
        from news n
        cross join lateral (
            select r.* from postmeter.request_status r
            where r.request_key = n.key and r.date >= n.date and r.date <= n.date and r.digest = n.digest offset 0
        ) r
    ), unit_known as materialized (
        select u.* from touched t
        cross join lateral (select x.* from postmeter.request_unit x where x.request_key = t.key offset 0) u
    ), overtaken as materialized (
        -- a success that comes late, between two failures: the state does not know which was the first after it
        select distinct on (f.request_key, f.service, f.source) f.request_key as key, f.service, f.source, f.at, f.number,
            f.digest, u.failed_at
        from fresh f
        join unit_known u on u.request_key = f.request_key and u.service = f.service and u.source = f.source
        where f.status = any (settings.tracker_success) and f.status <> all (settings.tracker_failure)
          and (f.at, f.number, f.digest) > (u.first_failed_at, u.first_failed_number, u.first_failed_digest)
          and (f.at, f.number, f.digest) < (u.failed_at, u.failed_number, u.failed_digest)
        order by f.request_key, f.service, f.source, f.at desc, f.number desc, f.digest desc
    ), ahead as materialized (
        select distinct f.request_key as key from fresh f where f.date > f.recorded_at + settings.tracker_lead_max
    ), known as materialized (
        select t.key, least(t.first_date, q.first_date) as first_date, greatest(t.last_date, q.last_date) as last_date,
               greatest(t.last_recorded_at, q.last_recorded_at) as last_recorded_at,
               coalesce(q.statuses, 0) + (case when t.first_date is null then 0 else t.n end) as statuses,
               -- where a date counts as its recording, dates do not find the first failure after a success
               q.request_key is not null and (q.words is distinct from words_now
                   or coalesce(q.dated_ahead, true) and exists (select from overtaken o where o.key = t.key)
                   or exists (select from overtaken o join ahead a on a.key = o.key where o.key = t.key)) as is_anew,
               exists (select from ahead a where a.key = t.key) or case when q.request_key is null then false
                   else q.dated_ahead end as dated_ahead,
               q.request_id, q.created_at, q.org as old_org, q.account as old_account,
               q.inventory_id as old_inventory_id, q.system_id as old_system_id,
               q.kinds as old_kinds, q.words as old_words, q.known_at, q.known_number, q.known_digest,
               q.outcome as old_outcome, q.failed_service, q.failure, q.open_services, q.silent_since,
               -- any new word opens what a person closed; computing it anew does not
               case when t.first_date is null then q.closed_at end as closed_at
        from touched t
        left join lateral (select x.* from postmeter.request x where x.request_key = t.key offset 0) q on true
    ), created as (
        select distinct on (f.request_key) f.request_key as key, f.date as created_at, f.request_id
        from fresh f order by f.request_key, f.recorded_at, f.number, f.date, f.digest
    ), said as materialized (
        -- the state knows the rest; where it was computed by other words, the messages are read once more
        select r.request_key as key, r.number, r.digest, r.date, r.recorded_at, r.kind, r.service, r.source, r.status,
               r.status_msg, r.account, r.org, r.inventory_id, r.system_id,
               case when r.date > r.recorded_at + settings.tracker_lead_max then r.recorded_at else r.date end as at,
               case when r.status = any (settings.tracker_failure) then 'failed'
                    when r.status = any (settings.tracker_success) then 'succeeded'
                    when r.status = any (settings.tracker_begun) then 'begun' end as means
        from (
            select f.request_key, f.number, f.digest, f.date, f.recorded_at, f.kind, f.service, f.source, f.status,
                   f.status_msg, f.account, f.org, f.inventory_id, f.system_id
            from fresh f join known k on k.key = f.request_key where not k.is_anew
            union all
            select a.request_key, a.number, a.digest, a.date, a.recorded_at, a.kind, a.service, a.source, a.status,
                   a.status_msg, a.account, a.org, a.inventory_id, a.system_id
            from known k
            cross join lateral (
                select r.* from postmeter.request_status r
                where k.is_anew and r.request_key = k.key and r.date between k.first_date and k.last_date offset 0
            ) a
        ) r
    ), spoken as materialized (
        select s.key, s.service, s.source, max(s.recorded_at) as heard_at from said s group by 1, 2, 3
    ), partly as materialized (
        -- some of its messages were dropped: those of its first days, or what was dated too far ahead
        select k.key from known k
        left join (select s.key, count(*) as n, min(s.date) as first_date, max(s.date) as last_date
                   from said s group by 1) s on s.key = k.key
        where k.is_anew and (s.key is null or s.n < k.statuses or s.first_date > k.first_date
            or s.last_date < k.last_date)
    ), guessed as materialized (
        -- a request of before there were units: of what was dropped its outcome and its kinds are left
        select k.key, g.service, g.source, g.status, g.means, k.first_date as at,
               case when g.means = 'failed' then coalesce(k.failure, '') else '' end as status_msg,
               least(k.first_date, k.last_recorded_at) as heard_at
        from known k
        join partly p on p.key = k.key
        cross join lateral (
            select k.failed_service as service, coalesce(min(c.source), '') as source,
                   coalesce((array_agg(c.status order by c.source, c.status))[1], 'failed') as status, 'failed' as means
            from postmeter.request_status_kind c
            where c.kind = any (k.old_kinds) and c.service = k.failed_service
              and c.status = any (settings.tracker_failure)
            having k.failed_service is not null and not exists (
                select from said s where s.key = k.key and s.service = k.failed_service and s.means = 'failed')
            union all
            select c.service, c.source, min(c.status), 'begun' from postmeter.request_status_kind c
            where c.kind = any (k.old_kinds) and c.service = any (k.open_services)
              and c.status <> all (settings.tracker_success || settings.tracker_failure)
              and not exists (select from said s where s.key = k.key and s.service = c.service)
            group by 1, 2
            union all
            select c.service, c.source, min(c.status), 'succeeded' from postmeter.request_status_kind c
            where c.kind = any (k.old_kinds) and c.status = any (settings.tracker_success)
              and c.service <> all (k.open_services) and c.service is distinct from k.failed_service
              and not exists (select from said s where s.key = k.key and s.service = c.service
                  and s.source = c.source and s.means = 'succeeded')
            group by 1, 2
        ) g
        where k.old_words is null and not exists (select from unit_known u where u.request_key = k.key)
    ), remembered as (
        select u.request_key as key, u.service, u.source, m.means, m.at, m.number, m.digest, u.last_status as status,
               m.status_msg
        from unit_known u
        cross join lateral (values
            ('last', u.last_at, u.last_number, u.last_digest, ''),
            ('begun', u.begun_at, u.begun_number, u.begun_digest, ''),
            ('succeeded', u.succeeded_at, u.succeeded_number, u.succeeded_digest, ''),
            ('failed', u.failed_at, u.failed_number, u.failed_digest, ''),
            ('failed', u.first_failed_at, u.first_failed_number, u.first_failed_digest, ''),
            ('failed', u.failure_at, u.failure_number, u.failure_digest, u.failure)
        ) m(means, at, number, digest, status_msg)
        where m.at is not null
    ), failed_next as materialized (
        select o.key, o.service, o.source, r.date as at, r.number, r.digest, r.status, r.status_msg
        from overtaken o
        join known k on k.key = o.key and not k.is_anew
        cross join lateral (
            select x.* from postmeter.request_status x
            where x.request_key = o.key and x.date >= o.at and x.date <= o.failed_at and x.service = o.service
              and x.source = o.source and x.status = any (settings.tracker_failure)
              and (x.date, x.number, x.digest) > (o.at, o.number, o.digest)
            order by x.date, x.number, x.digest limit 1
        ) r
    ), word as materialized (
        select s.key, s.service, s.source, m.means, s.at, s.number, s.digest, s.status, s.status_msg
        from said s cross join lateral (values ('last'), (s.means)) m(means) where m.means is not null
        union all
        select r.* from remembered r
        join spoken p on p.key = r.key and p.service = r.service and p.source = r.source
        join known k on k.key = r.key and not k.is_anew
        union all
        select n.key, n.service, n.source, 'failed', n.at, n.number, n.digest, n.status, n.status_msg from failed_next n
        union all
        -- where the messages are read once more, the state stands for those that are gone
        select r.* from remembered r
        join known k on k.key = r.key and k.is_anew
        where not exists (
            select from said s
            where s.key = r.key and s.service = r.service and s.source = r.source and s.digest = r.digest
              and s.number = r.number and (r.number > 0 or r.at in (s.at, s.date, s.recorded_at)))
        union all
        select g.key, g.service, g.source, m.means, g.at, -1, '00000000-0000-0000-0000-000000000000', g.status,
               g.status_msg
        from guessed g cross join lateral (values ('last'), (g.means)) m(means)
    ), latest as materialized (
        select distinct on (w.key, w.service, w.source, w.means) w.*
        from word w order by w.key, w.service, w.source, w.means, w.at desc, w.number desc, w.digest desc
    ), failing as materialized (
        -- failures since the last success
        select w.* from word w
        left join latest l on l.key = w.key and l.service = w.service and l.source = w.source and l.means = 'succeeded'
        where w.means = 'failed' and (l.key is null or (w.at, w.number, w.digest) > (l.at, l.number, l.digest))
    ), first_failed as (
        select distinct on (f.key, f.service, f.source) f.* from failing f
        order by f.key, f.service, f.source, f.at, f.number, f.digest
    ), told as (
        select distinct on (f.key, f.service, f.source) f.* from failing f where f.status_msg <> ''
        order by f.key, f.service, f.source, f.at desc, f.number desc, f.digest desc
    ), unit as materialized (
        select l.key as request_key, l.service, l.source,
               l.status as last_status, l.at as last_at, l.number as last_number, l.digest as last_digest,
               b.at as begun_at, b.number as begun_number, b.digest as begun_digest,
               s.at as succeeded_at, s.number as succeeded_number, s.digest as succeeded_digest,
               e.at as failed_at, e.number as failed_number, e.digest as failed_digest,
               f.at as first_failed_at, f.number as first_failed_number, f.digest as first_failed_digest,
               m.status_msg as failure, m.at as failure_at, m.number as failure_number, m.digest as failure_digest,
               greatest(p.heard_at, u.heard_at, g.heard_at) as heard_at
        from latest l
        left join latest b on b.key = l.key and b.service = l.service and b.source = l.source and b.means = 'begun'
        left join latest s on s.key = l.key and s.service = l.service and s.source = l.source and s.means = 'succeeded'
        left join latest e on e.key = l.key and e.service = l.service and e.source = l.source and e.means = 'failed'
        left join first_failed f on f.key = l.key and f.service = l.service and f.source = l.source
        left join told m on m.key = l.key and m.service = l.service and m.source = l.source
        left join spoken p on p.key = l.key and p.service = l.service and p.source = l.source
        left join unit_known u on u.request_key = l.key and u.service = l.service and u.source = l.source
        left join (select x.key, x.service, x.source, max(x.heard_at) as heard_at from guessed x group by 1, 2, 3) g
            on g.key = l.key and g.service = l.service and g.source = l.source
        where l.means = 'last'
    ), kept as (
        insert into postmeter.request_unit as w (request_key, service, source, last_status, last_at, last_number,
            last_digest, begun_at, begun_number, begun_digest, succeeded_at, succeeded_number, succeeded_digest,
            failed_at, failed_number, failed_digest, first_failed_at, first_failed_number, first_failed_digest,
            failure, failure_at, failure_number, failure_digest, heard_at)
        select u.request_key, u.service, u.source, u.last_status, u.last_at, u.last_number, u.last_digest, u.begun_at,
               u.begun_number, u.begun_digest, u.succeeded_at, u.succeeded_number, u.succeeded_digest, u.failed_at,
               u.failed_number, u.failed_digest, u.first_failed_at, u.first_failed_number, u.first_failed_digest,
               u.failure, u.failure_at, u.failure_number, u.failure_digest, u.heard_at
        from unit u
        on conflict (request_key, service, source) do update set
            last_status = excluded.last_status,
            last_at = excluded.last_at,
            last_number = excluded.last_number,
            last_digest = excluded.last_digest,
            begun_at = excluded.begun_at,
            begun_number = excluded.begun_number,
            begun_digest = excluded.begun_digest,
            succeeded_at = excluded.succeeded_at,
            succeeded_number = excluded.succeeded_number,
            succeeded_digest = excluded.succeeded_digest,
            failed_at = excluded.failed_at,
            failed_number = excluded.failed_number,
            failed_digest = excluded.failed_digest,
            first_failed_at = excluded.first_failed_at,
            first_failed_number = excluded.first_failed_number,
            first_failed_digest = excluded.first_failed_digest,
            failure = excluded.failure,
            failure_at = excluded.failure_at,
            failure_number = excluded.failure_number,
            failure_digest = excluded.failure_digest,
            heard_at = excluded.heard_at
    ), judged as materialized (
        select a.request_key as key, a.service, a.source, a.first_failed_at, a.first_failed_number,
               a.first_failed_digest, coalesce(a.failure, '') as failure, a.heard_at,
               a.first_failed_at is not null as has_failed,
               a.succeeded_at is null or (a.begun_at, a.begun_number, a.begun_digest)
                   > (a.succeeded_at, a.succeeded_number, a.succeeded_digest) as has_begun,
               -- once a service names sources, what it says without one opens nothing
               a.source = '' and bool_or(a.source <> '') over (partition by a.request_key, a.service) as is_apart
        from (
            select u.* from unit u
            union all
            select k.* from unit_known k
            where not exists (select from unit x where x.request_key = k.request_key and x.service = k.service
                and x.source = k.source)
        ) a
    ), heard_again as (
        -- a request counts once for each of its services, where it was heard of last
        insert into postmeter.request_heard as c (service, slot, n)
        select m.service, m.slot, sum(m.n)
        from (select j.service, date_bin('5 minutes', max(j.heard_at), 'epoch') as slot, 1 as n
            from judged j group by j.key, j.service
              union all
              select u.service, date_bin('5 minutes', max(u.heard_at), 'epoch'), -1 from unit_known u
                  group by u.request_key, u.service) m
        group by 1, 2 having sum(m.n) <> 0
        on conflict (service, slot) do update set n = c.n + excluded.n
    ), outcome as materialized (
        select j.key, coalesce(array_agg(distinct j.service order by j.service)
                   filter (where j.has_begun and not j.has_failed and not j.is_apart), '{}') as open_services,
               min(j.heard_at) filter (where j.has_begun and not j.has_failed and not j.is_apart) as silent_since,
               (array_agg(j.service order by j.first_failed_at, j.first_failed_number, j.first_failed_digest, j.service,
                       j.source)
                   filter (where j.has_failed))[1] as failed_service,
               (array_agg(j.failure order by j.first_failed_at, j.first_failed_number, j.first_failed_digest, j.service,
                       j.source)
                   filter (where j.has_failed))[1] as failure
        from judged j group by 1
    ), awaited_known as materialized (
        select a.*, k.is_anew from known k
        cross join lateral (select x.* from postmeter.request_awaited x where x.request_key = k.key offset 0) a
    ), awaited as materialized (
        -- whoever has spoken, before the route led there or after, is not awaited
        select w.key, w.service, min(w.until) as until
        from (select s.key, r.service, greatest(s.at, s.recorded_at) + r.within as until
              from said s join postmeter.route r on r.after = s.service and r.status = s.status and s.recorded_at >= r.made_at
              union all
              -- what a dropped message led to stays, as long as a route still leads there
              select a.request_key, a.service, a.until from awaited_known a
              where not a.is_anew or exists (select from partly p where p.key = a.request_key) and exists (
                  select from postmeter.route r join judged j on j.service = r.after
                  where j.key = a.request_key and r.service = a.service)) w
        where not exists (select from judged j where j.key = w.key and j.service = w.service)
        group by 1, 2
    ), waits as (
        insert into postmeter.request_awaited as w (request_key, service, until)
        select a.key, a.service, a.until from awaited a
        on conflict (request_key, service) do update set until = excluded.until where w.until <> excluded.until
    ), heard as (
        delete from postmeter.request_awaited w using awaited_known a
        where w.request_key = a.request_key and w.service = a.service
          and not exists (select from awaited s where s.key = a.request_key and s.service = a.service)
    ), missing as (
        select a.key, array_agg(a.service order by a.service) as services from awaited a group by 1
    ), field as (
        select s.key, v.n, v.value, s.at, s.number, s.digest
        from said s
        cross join lateral (values (1, s.account), (2, s.org), (3, s.inventory_id), (4, s.system_id)) v(n, value)
        where v.value <> ''
        union all
        -- what only a dropped message said stays
        select k.key, v.n, v.value, coalesce(k.known_at[v.n], '-infinity'), coalesce(k.known_number[v.n], -1),
               coalesce(k.known_digest[v.n], '00000000-0000-0000-0000-000000000000')
        from known k
        cross join lateral (values (1, k.old_account), (2, k.old_org), (3, k.old_inventory_id), (4,
            k.old_system_id)) v(n, value)
        where v.value <> ''
    ), field_last as (
        select distinct on (f.key, f.n) f.* from field f order by f.key, f.n, f.at desc, f.number desc,
            f.digest desc
    ), named as materialized (
        select f.key, max(f.value) filter (where f.n = 1) as account, max(f.value) filter (where f.n = 2) as org,
               max(f.value) filter (where f.n = 3) as inventory_id, max(f.value) filter (where f.n = 4) as system_id,
               array[max(f.at) filter (where f.n = 1), max(f.at) filter (where f.n = 2),
                     max(f.at) filter (where f.n = 3), max(f.at) filter (where f.n = 4)] as known_at,
               array[max(f.number) filter (where f.n = 1), max(f.number) filter (where f.n = 2),
                     max(f.number) filter (where f.n = 3), max(f.number) filter (where f.n = 4)] as known_number,
               -- one row each: no order is needed, and there is no max(uuid)
               array[(array_agg(f.digest) filter (where f.n = 1))[1], (array_agg(f.digest) filter (where f.n = 2))[1],
                     (array_agg(f.digest) filter (where f.n = 3))[1], (array_agg(f.digest) filter (where f.n = 4))[1]]
                   as known_digest
        from field_last f group by 1
    ), of_kinds as materialized (
        select x.key, array_agg(distinct x.kind) as kinds
        from (select s.key, s.kind from said s union all select k.key, unnest(k.old_kinds) from known k) x group by 1
    ), computed as materialized (
        select k.key, coalesce(k.request_id, c.request_id) as request_id, coalesce(k.created_at,
            c.created_at) as created_at,
               k.first_date, k.last_date, k.last_recorded_at, k.statuses, k.old_org, k.old_account, k.old_outcome,
               coalesce(f.account, '') as account, coalesce(f.org, '') as org, coalesce(f.inventory_id,
                   '') as inventory_id,
               coalesce(f.system_id, '') as system_id, f.known_at, f.known_number, f.known_digest, d.kinds,
               case when o.key is null then k.old_outcome when o.failed_service is not null then 'failed'
                    when o.open_services <> '{}' or m.key is not null then 'open' else 'succeeded' end as outcome,
               case when o.key is null then k.failed_service else o.failed_service end as failed_service,
               case when o.key is null then k.failure else o.failure end as failure,
               case when o.key is null then k.open_services when m.key is null then o.open_services
                    else array(select x.service from unnest(o.open_services || m.services) x(service) order by 1) end as open_services,
               coalesce(m.services, '{}') as missing_services, k.closed_at,
               -- read once more, its messages say it; those that were dropped no longer do
               case when k.is_anew then coalesce(x.dated_ahead, false) or k.dated_ahead and exists (
                   select from partly p where p.key = k.key) else k.dated_ahead end as dated_ahead,
               case when o.key is null then k.silent_since else o.silent_since end as silent_since
        from known k
        left join missing m on m.key = k.key
        left join created c on c.key = k.key
        left join outcome o on o.key = k.key
        left join named f on f.key = k.key
        join of_kinds d on d.key = k.key
        left join (select s.key, bool_or(s.date > s.recorded_at + settings.tracker_lead_max) as dated_ahead
                   from said s group by 1) x on x.key = k.key
    ), written as (
        insert into postmeter.request as w (request_key, request_id, account, org, inventory_id, system_id,
            created_at, first_date,
            last_date, last_recorded_at, statuses, kinds, outcome, failed_service, failure, open_services,
                missing_services, silent_since,
            closed_at, words, dated_ahead, known_at, known_number, known_digest)
        select k.key, k.request_id, k.account, k.org, k.inventory_id, k.system_id, k.created_at, k.first_date,
            k.last_date,
               k.last_recorded_at, k.statuses, k.kinds, k.outcome, k.failed_service, k.failure, k.open_services,
                   k.missing_services, k.silent_since, k.closed_at, words_now, k.dated_ahead,
               k.known_at, k.known_number, k.known_digest
        from computed k
        on conflict (request_key) do update set account = excluded.account, org = excluded.org,
            inventory_id = excluded.inventory_id,
            system_id = excluded.system_id, first_date = excluded.first_date, last_date = excluded.last_date,
            last_recorded_at = excluded.last_recorded_at, statuses = excluded.statuses, kinds = excluded.kinds,
            outcome = excluded.outcome, failed_service = excluded.failed_service, failure = excluded.failure,
            open_services = excluded.open_services, missing_services = excluded.missing_services,
            silent_since = excluded.silent_since,
            closed_at = excluded.closed_at, words = excluded.words,
            dated_ahead = excluded.dated_ahead, known_at = excluded.known_at,
            known_number = excluded.known_number, known_digest = excluded.known_digest
    ), moved as (
        select k.org, k.account, k.outcome, postmeter.hour_of(k.created_at) as hour, 1 as n from computed k
        union all
        select k.old_org, k.old_account, k.old_outcome, postmeter.hour_of(k.created_at), -1 from computed k
            where k.old_org is not null
    ), counted as (
        insert into postmeter.request_count as c (org, account, outcome, hour, n)
        select m.org, m.account, m.outcome, m.hour, sum(m.n) from moved m group by 1, 2, 3, 4 having sum(m.n) <> 0
        on conflict (org, account, outcome, hour) do update set n = c.n + excluded.n
    )
    insert into postmeter.request_hour as c (outcome, hour, n)
    select m.outcome, m.hour, sum(m.n) from moved m group by 1, 2 having sum(m.n) <> 0
    on conflict (outcome, hour) do update set n = c.n + excluded.n;
end
$$;

create or replace function postmeter.recount_requests(most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    messages_max constant bigint := 10000;
    words_now bigint := postmeter.tracker_words();
    at_work   postmeter.request_recount;
    stale     text[];
    behind    bigint;
    seen      integer;
begin
    select * into at_work from postmeter.request_recount;
    if at_work.words = words_now and at_work.next_id is null then
        return 0;
    end if;
    perform postmeter.take_gate('gather_requests');
    select * into at_work from postmeter.request_recount;
    if at_work.words is distinct from words_now then
        at_work.next_id := 9223372036854775807;
    end if;
    if at_work.next_id is null then
        return 0;
    end if;
    -- so many requests, or so many messages, whatever comes first; one request is never too many
    select array_agg(b.request_key) filter (where b.words is distinct from words_now), min(b.id) - 1, count(*)
    into stale, behind, seen
    from (
        select a.*, sum(case when a.words is distinct from words_now then a.statuses else 0 end) over (order by a.id desc) as messages,
               row_number() over (order by a.id desc) as n
        from (select q.id, q.request_key, q.words, q.statuses from postmeter.request q
              where q.id <= at_work.next_id order by q.id desc limit most) a
    ) b
    where b.n = 1 or b.messages <= messages_max;
    update postmeter.request_recount set words = words_now, next_id = behind;
    begin
        perform postmeter.compute_requests('{}', '{}', '{}', '{}', coalesce(stale, '{}'));
    exception when others then
        if sqlstate !~ '^(22|23)' then
            raise;
        end if;
        -- one that cannot be computed keeps no other from it, and is computed when something is said of it
        for n in 1 .. cardinality(stale) loop
            begin
                perform postmeter.compute_requests('{}', '{}', '{}', '{}', stale[n:n]);
            exception when others then
                if sqlstate !~ '^(22|23)' then
                    raise;
                end if;
                raise warning 'request % could not be computed by the new words: %', stale[n], sqlerrm;
            end;
        end loop;
    end;
    return seen;
end
$$;

insert into postmeter.migration (version, name) values (69, '0069_pre_late_successes');
