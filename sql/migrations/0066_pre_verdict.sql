-- 0066_pre_verdict: a request's verdict from the state of all its units, in an order that no hash decides.
-- programs: from 0022
-- lock: access exclusive on request, for a moment: columns more
-- lock: access exclusive on request_status, for a moment: a column more
-- lock: access exclusive on setting, grows with its rows: columns of its one row
-- lock: access exclusive on unfinished_request, for a moment: the view knows routes

-- the order of messages ---------------------------------------------------------------------------------------------

create sequence postmeter.request_status_number;
-- what was recorded before has no number: among equals of one date it stays ordered by digest, before all that have one
alter table postmeter.request_status add column number bigint not null default 0;
alter table postmeter.request_status alter column number set default nextval('postmeter.request_status_number');
alter table postmeter.request_status_default alter column number set default nextval('postmeter.request_status_number');
alter sequence postmeter.request_status_number owned by postmeter.request_status.number;
comment on sequence postmeter.request_status_number is 'Numbers of request statuses.';
comment on column postmeter.request_status.number is 'Number of recording: of two messages of one date the larger number is the later. 0: recorded before there were numbers.';

alter table postmeter.setting
    add column tracker_lead_max interval not null default '1 hour'
        check (tracker_lead_max between '0' and '1 year'),
    add column tracker_begun text[] not null default '{received,processing,started,running,retrying}',
    add column tracker_alert_share numeric not null default 0.1 check (tracker_alert_share between 0 and 1),
    add column tracker_alert_requests integer not null default 10 check (tracker_alert_requests > 0),
    add column tracker_alert_age interval not null default '1 day' check (tracker_alert_age >= '0');
comment on column postmeter.setting.tracker_alert_share is 'A service is silent if more than this share of its requests that came due in the last hour is unfinished there.';
comment on column postmeter.setting.tracker_alert_requests is 'And if at least so many came due: a share of a few says nothing.';
comment on column postmeter.setting.tracker_alert_age is 'A service is silent, too, if a request has been unfinished there for longer than this, however many came due.';
comment on column postmeter.setting.tracker_lead_max is 'A request status that is dated further ahead of its recording than this is ordered, and retires, by its recording.';
comment on column postmeter.setting.tracker_begun is 'Statuses, in lower case, with which a service begins: after a success one of them opens the service again. Any other word opens only what has not finished.';

-- the state of units ------------------------------------------------------------------------------------------------

create table postmeter.request_unit (
    request_key      text collate "C" not null,
    service          text collate "C" not null,
    source           text collate "C" not null,
    last_status      text collate "C" not null,
    last_at          timestamptz not null,
    last_number      bigint not null,
    last_digest      uuid not null,
    begun_at         timestamptz,
    begun_number     bigint,
    begun_digest     uuid,
    succeeded_at     timestamptz,
    succeeded_number bigint,
    succeeded_digest uuid,
    failed_at        timestamptz,
    failed_number    bigint,
    failed_digest    uuid,
    first_failed_at     timestamptz,
    first_failed_number bigint,
    first_failed_digest uuid,
    failure          text,
    failure_at       timestamptz,
    failure_number   bigint,
    failure_digest   uuid,
    heard_at         timestamptz not null,
    primary key (request_key, service, source)
) with (fillfactor = 80);
comment on table postmeter.request_unit is 'What each unit of a request, a service and a source, said last: all that the verdict needs. Grows with units, not with messages.';
comment on column postmeter.request_unit.request_key is 'See request_status.request_key.';
comment on column postmeter.request_unit.service is 'The service.';
comment on column postmeter.request_unit.source is 'The source; empty: none was named.';
comment on column postmeter.request_unit.last_status is 'Its last word.';
comment on column postmeter.request_unit.last_at is 'When it said that: the date, or the recording of what was dated too far ahead (setting.tracker_lead_max).';
comment on column postmeter.request_unit.last_number is 'And under which number.';
comment on column postmeter.request_unit.last_digest is 'And with which digest: it orders what has one date and no number.';
comment on column postmeter.request_unit.begun_at is 'When it last said a word of setting.tracker_begun; null: never.';
comment on column postmeter.request_unit.begun_number is 'And under which number.';
comment on column postmeter.request_unit.begun_digest is 'And with which digest: it orders what has one date and no number.';
comment on column postmeter.request_unit.succeeded_at is 'When it last said a word of setting.tracker_success; null: never.';
comment on column postmeter.request_unit.succeeded_number is 'And under which number.';
comment on column postmeter.request_unit.succeeded_digest is 'And with which digest: it orders what has one date and no number.';
comment on column postmeter.request_unit.failed_at is 'When it last said a word of setting.tracker_failure; null: never.';
comment on column postmeter.request_unit.failed_number is 'And under which number.';
comment on column postmeter.request_unit.failed_digest is 'And with which digest: it orders what has one date and no number.';
comment on column postmeter.request_unit.first_failed_at is 'When it first did since its last success; null: it has not failed since.';
comment on column postmeter.request_unit.first_failed_number is 'And under which number.';
comment on column postmeter.request_unit.first_failed_digest is 'And with which digest.';
comment on column postmeter.request_unit.failure is 'What it said in more words when it last failed with any, since its last success; null: nothing.';
comment on column postmeter.request_unit.failure_at is 'When it said that.';
comment on column postmeter.request_unit.failure_number is 'And under which number.';
comment on column postmeter.request_unit.failure_digest is 'And with which digest.';
comment on column postmeter.request_unit.heard_at is 'When something that it said was last recorded.';
grant select on postmeter.request_unit to postmeter_reader, postmeter_operator, postmeter_console, postmeter_worker;

create table postmeter.request_heard (
    service text collate "C" not null,
    slot    timestamptz not null,
    n       bigint not null,
    primary key (service, slot)
) with (fillfactor = 70);
comment on table postmeter.request_heard is 'How many requests a service was last heard of about, in five minutes: what came due is counted from it.';
comment on column postmeter.request_heard.service is 'The service.';
comment on column postmeter.request_heard.slot is 'Begin of the five minutes, of recording.';
comment on column postmeter.request_heard.n is 'How many.';
grant select on postmeter.request_heard to postmeter_reader, postmeter_operator, postmeter_console, postmeter_worker;

-- routes ------------------------------------------------------------------------------------------------------------

create table postmeter.route (
    id      bigint generated always as identity primary key,
    -- lower case as postmeter.track lower-cases, by the collation of the database
    after   text collate "C" not null check (after <> '' and after = lower(after collate "default")),
    status  text collate "C" not null check (status <> '' and status = lower(status collate "default")),
    service text collate "C" not null check (service <> '' and service = lower(service collate "default")),
    within  interval not null check (within between '1 second' and '1 year'),
    made_at timestamptz not null default postmeter.clock(),
    unique (after, status, service),
    constraint route_leads_elsewhere check (service <> after)
);
comment on table postmeter.route is 'Whom a request is handed to: once a service has said a status, another must speak. A part of the catalogue.';
comment on column postmeter.route.id is 'Its number.';
comment on column postmeter.route.after is 'The service that hands over, in lower case.';
comment on column postmeter.route.status is 'What it says when it does, in lower case.';
comment on column postmeter.route.service is 'The service that must speak then, in lower case.';
comment on column postmeter.route.within is 'For so long its silence is no matter.';
comment on column postmeter.route.made_at is 'Since when it counts: what was recorded before was handed over without it.';
create trigger history after insert or delete or update on postmeter.route
    for each row execute function postmeter.catalogue_changed();
grant select on postmeter.route to postmeter_reader, postmeter_worker;
grant select, insert, update, delete on postmeter.route to postmeter_operator;

create table postmeter.request_awaited (
    request_key text collate "C" not null,
    service     text collate "C" not null,
    until       timestamptz not null,
    primary key (request_key, service)
) with (fillfactor = 80);
create index request_awaited_by_time on postmeter.request_awaited (until);
comment on table postmeter.request_awaited is 'Services that a route leads a request to, and that have said nothing about it yet. Gone as soon as they speak.';
comment on column postmeter.request_awaited.request_key is 'See request_status.request_key.';
comment on column postmeter.request_awaited.service is 'Who must speak.';
comment on column postmeter.request_awaited.until is 'Until when; later the request is unfinished.';
grant select on postmeter.request_awaited to postmeter_reader, postmeter_operator, postmeter_console, postmeter_worker;

create function postmeter.tracker_words() returns bigint
-- an interval is hashed as text: the same text in every session
language sql stable security definer set search_path = pg_catalog, pg_temp set intervalstyle = 'postgres'
as $$
    select hashtextextended(jsonb_build_array(s.tracker_success, s.tracker_failure, s.tracker_begun, s.tracker_lead_max,
        (select jsonb_agg(jsonb_build_array(r.after, r.status, r.service, r.within) order by r.after, r.status,
            r.service)
         from postmeter.route r))::text, 0)
    from postmeter.setting s
$$;
comment on function postmeter.tracker_words() is
    'Hash of the words and rules that outcomes of requests are computed by: when it changes, they are computed anew.';
revoke execute on function postmeter.tracker_words() from public;
grant execute on function postmeter.tracker_words() to postmeter_reader, postmeter_operator, postmeter_worker;

create table postmeter.request_recount (
    only_row boolean not null default true primary key check (only_row),
    words    bigint,
    next_id  bigint
) with (fillfactor = 50);
insert into postmeter.request_recount (words, next_id)
-- the sequence knows whether there was ever a request, and reads no table
select postmeter.tracker_words(), case when s.is_called then 0 end from postmeter.request_id_seq s;
comment on table postmeter.request_recount is 'How far requests were looked through for outcomes that other words than today''s computed.';
comment on column postmeter.request_recount.only_row is 'Always true: there is one row.';
comment on column postmeter.request_recount.words is 'Today''s words when that began (postmeter.tracker_words()).';
comment on column postmeter.request_recount.next_id is 'The request from which it goes on; null: all were looked at.';
grant select on postmeter.request_recount to postmeter_reader, postmeter_operator, postmeter_worker;

alter table postmeter.request
    add column missing_services text[] not null default '{}',
    add column silent_since timestamptz,
    add column closed_at timestamptz,
    add column words bigint,
    add column known_at timestamptz[],
    add column known_number bigint[],
    add column known_digest uuid[];
comment on column postmeter.request.open_services is 'Services that have begun and not finished, and those that a route of the catalogue awaits.';
comment on column postmeter.request.outcome is 'failed: some unit failed last; else open: some unit has not finished, or a service is awaited; else succeeded.';
comment on column postmeter.request.missing_services is 'Of the open services those that a route of the catalogue awaits, and that never spoke.';
comment on column postmeter.request.silent_since is 'When the unit was last heard of that has begun and not finished and is silent for longest; null: there is none.';
comment on column postmeter.request.closed_at is 'When a person closed it: it is not unfinished, whatever its outcome. The next word about it opens it again. Null: it is not closed.';
comment on column postmeter.request.words is 'By which words the outcome was computed (postmeter.tracker_words()); null, or others than today''s: it is computed anew from its messages.';
comment on column postmeter.request.known_at is 'When account, org, inventory_id and system_id were said, in this order.';
comment on column postmeter.request.known_number is 'And under which numbers.';
comment on column postmeter.request.known_digest is 'And with which digests.';

create function postmeter.compute_requests(keys text[], dates timestamptz[], digests uuid[], moments timestamptz[],
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
    update postmeter.request_recount set words = words_now, next_id = 0 where words is distinct from words_now;
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
        select distinct f.request_key as key
        from fresh f
        join unit_known u on u.request_key = f.request_key and u.service = f.service and u.source = f.source
        where f.status = any (settings.tracker_success) and f.status <> all (settings.tracker_failure)
          and (f.at, f.number, f.digest) > (u.first_failed_at, u.first_failed_number, u.first_failed_digest)
          and (f.at, f.number, f.digest) < (u.failed_at, u.failed_number, u.failed_digest)
    ), known as materialized (
        select t.key, least(t.first_date, q.first_date) as first_date, greatest(t.last_date, q.last_date) as last_date,
               greatest(t.last_recorded_at, q.last_recorded_at) as last_recorded_at,
               coalesce(q.statuses, 0) + (case when t.first_date is null then 0 else t.n end) as statuses,
               q.request_key is not null and (q.words is distinct from words_now or o.key is not null) as is_anew,
               q.request_id, q.created_at, q.org as old_org, q.account as old_account,
               q.inventory_id as old_inventory_id, q.system_id as old_system_id,
               q.kinds as old_kinds, q.words as old_words, q.known_at, q.known_number, q.known_digest,
               q.outcome as old_outcome, q.failed_service, q.failure, q.open_services, q.silent_since,
               -- any new word opens what a person closed; computing it anew does not
               case when t.first_date is null then q.closed_at end as closed_at
        from touched t
        left join overtaken o on o.key = t.key
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
    ), word as materialized (
        select s.key, s.service, s.source, m.means, s.at, s.number, s.digest, s.status, s.status_msg
        from said s cross join lateral (values ('last'), (s.means)) m(means) where m.means is not null
        union all
        select r.* from remembered r
        join spoken p on p.key = r.key and p.service = r.service and p.source = r.source
        join known k on k.key = r.key and not k.is_anew
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
               case when o.key is null then k.silent_since else o.silent_since end as silent_since
        from known k
        left join missing m on m.key = k.key
        left join created c on c.key = k.key
        left join outcome o on o.key = k.key
        left join named f on f.key = k.key
        join of_kinds d on d.key = k.key
    ), written as (
        insert into postmeter.request as w (request_key, request_id, account, org, inventory_id, system_id,
            created_at, first_date,
            last_date, last_recorded_at, statuses, kinds, outcome, failed_service, failure, open_services,
                missing_services, silent_since,
            closed_at, words, known_at, known_number, known_digest)
        select k.key, k.request_id, k.account, k.org, k.inventory_id, k.system_id, k.created_at, k.first_date,
            k.last_date,
               k.last_recorded_at, k.statuses, k.kinds, k.outcome, k.failed_service, k.failure, k.open_services,
                   k.missing_services, k.silent_since, k.closed_at, words_now,
               k.known_at, k.known_number, k.known_digest
        from computed k
        on conflict (request_key) do update set account = excluded.account, org = excluded.org,
            inventory_id = excluded.inventory_id,
            system_id = excluded.system_id, first_date = excluded.first_date, last_date = excluded.last_date,
            last_recorded_at = excluded.last_recorded_at, statuses = excluded.statuses, kinds = excluded.kinds,
            outcome = excluded.outcome, failed_service = excluded.failed_service, failure = excluded.failure,
            open_services = excluded.open_services, missing_services = excluded.missing_services,
            silent_since = excluded.silent_since,
            closed_at = excluded.closed_at, words = excluded.words, known_at = excluded.known_at,
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
comment on function postmeter.compute_requests(text[], timestamptz[], uuid[], timestamptz[], text[]) is
    'Takes messages into the state of their units and computes their requests from it, and those of the keys in anew: whatever was computed by other words is computed from its messages. For postmeter.gather_requests and recount_requests, who hold the gate.';
revoke execute on function postmeter.compute_requests(text[], timestamptz[], uuid[], timestamptz[], text[]) from public;

create or replace function postmeter.put_request_news_behind() returns text
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
        where (n.xid, n.id) = (select x.xid, x.id from postmeter.request_news x where (x.xid, x.id) >= (floor.xid, floor.id)
                               order by x.xid, x.id limit 1)
        returning n.request_key, n.date, n.digest, n.kind, n.message, n.recorded_at
    )
    insert into postmeter.request_news (request_key, date, digest, kind, message, recorded_at)
    select g.request_key, g.date, g.digest, g.kind, g.message, g.recorded_at from gone g
    returning request_key into moved;
    return moved;
end
$$;

create or replace function postmeter.gather_requests(most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
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
           array_agg(g.recorded_at), count(*), (array_agg(g.xid order by g.xid desc, g.id desc))[1], (array_agg(g.id order by g.xid desc, g.id desc))[1]
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

create or replace function postmeter.track_batch(statuses jsonb) RETURNS TABLE(item integer, verdict text, error_code text, field text, message text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    now    timestamptz := postmeter.clock();
    status jsonb;
begin
    if jsonb_typeof(statuses) is distinct from 'array' then
        raise exception 'statuses must be a JSON array of objects' using errcode = 'PM001', column = 'statuses', constraint = 'statuses_array';
    end if;
    begin
        return query
        with given as materialized (
            select g.ordinality, nextval('postmeter.request_status_number') as number, g.request_id, postmeter.request_key_of(g.request_id) as key, coalesce(g.date, now) as date,
                   lower(g.service) as service, lower(coalesce(g.source, '')) as source, lower(g.status) as status,
                   coalesce(g.status_msg, '') as status_msg, coalesce(g.account, '') as account, coalesce(g.org, '') as org,
                   coalesce(g.inventory_id, '') as inventory_id, coalesce(g.system_id, '') as system_id
            from rows from (jsonb_to_recordset(statuses) as (service text, request_id text, status text, date timestamptz,
                    source text, status_msg text, account text, org text, inventory_id text, system_id text))
                 with ordinality g(service, request_id, status, date, source, status_msg, account, org, inventory_id, system_id, ordinality)
        ), hashed as materialized (
            select g.*, postmeter.request_status_digest(g.service, g.source, g.status, g.status_msg, g.account, g.org,
                                                        g.inventory_id, g.system_id) as digest
            from given g
            where not exists (select from given f where postmeter.status_fault(f.service, f.request_id, f.status, f.date,
                f.source, f.status_msg, f.account, f.org, f.inventory_id, f.system_id) is not null)
        ), said as (
            -- sorted, so that two batches with the same messages wait for each other instead of deadlocking
            insert into postmeter.request_status (request_key, date, digest, request_id, service, source, status, status_msg,
                                                  account, org, inventory_id, system_id, recorded_at, number)
            select h.key, h.date, h.digest, h.request_id, h.service, h.source, h.status, h.status_msg,
                   h.account, h.org, h.inventory_id, h.system_id, now, h.number
            from hashed h order by h.key, h.date, h.digest, h.ordinality
            on conflict do nothing
            returning *
        ), news as (
            insert into postmeter.request_news (request_key, date, digest, kind, message, recorded_at)
            select s.request_key, s.date, s.digest, s.kind, s.message, s.recorded_at from said s
        )
        -- one that stands twice here is new the first time
        select h.ordinality::integer,
               case when s.request_key is not null
                     and row_number() over (partition by h.key, h.date, h.digest order by h.ordinality) = 1
                    then 'recorded' else 'repeated' end, null::text, null::text, null::text
        from hashed h
        left join said s on s.request_key = h.key and s.date = h.date and s.digest = h.digest
        order by h.ordinality;
        if found or statuses = '[]' then
            return;
        end if;
    exception when others then
        -- bad data of some item: every item gets its own verdict below; anything else is the caller's business
        if sqlstate !~ '^(22|23|PM)' then
            raise;
        end if;
    end;
    item := 0;
    for status in select e from jsonb_array_elements(statuses) e loop
        item := item + 1;
        error_code := null; field := null; message := null;
        begin
            if jsonb_typeof(status) <> 'object' then
                raise exception 'request status: must be an object' using errcode = 'PM001', column = 'statuses', constraint = 'statuses_object';
            end if;
            verdict := case when postmeter.track(status ->> 'service', status ->> 'request_id', status ->> 'status',
                (status ->> 'date')::timestamptz, status ->> 'source', status ->> 'status_msg', status ->> 'account',
                status ->> 'org', status ->> 'inventory_id', status ->> 'system_id') then 'recorded' else 'repeated' end;
        exception when others then
            get stacked diagnostics error_code = returned_sqlstate, field = column_name, message = message_text;
            if error_code !~ '^(22|23|PM)' then
                raise;
            end if;
            verdict := 'refused';
            field := coalesce(nullif(field, ''), case when message like '%time%' then 'date' end);
        end;
        return next;
    end loop;
end
$$;

create or replace function postmeter.create_request_partitions(days_ahead integer, days_back integer DEFAULT 1) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET lock_timeout TO '200ms'
    AS $$
declare
    columns text := 'request_key, date, digest, request_id, service, source, status, status_msg, account, org, inventory_id, system_id, recorded_at, number';
    today   timestamptz := date_trunc('day', postmeter.clock(), 'UTC');
    horizon timestamptz := (select date_trunc('day', postmeter.clock() - s.tracker_retention, 'UTC') from postmeter.setting s);
    day     timestamptz;
    name    text;
    made    integer := 0;
begin
    if not postmeter.try_gate('create_request_partitions') then
        return 0;
    end if;
    for day in
        select g from generate_series(today - make_interval(days => days_back), today + make_interval(days => days_ahead), '1 day') g where g >= horizon
        union
        select date_trunc('day', d.date, 'UTC') from postmeter.request_status_default d
        where d.date >= horizon and d.date < today + make_interval(days => days_ahead + 1)
        order by 1
    loop
        name := 'request_status_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass('postmeter.' || name) is not null;
        begin
            -- attached rather than created as a partition: that would lock the parent against readers
            execute format('create table postmeter.%I (like postmeter.request_status including defaults including generated including indexes)', name);
            execute format('comment on table postmeter.%I is %L', name, 'Request statuses of ' || to_char(day, 'YYYY-MM-DD') || '.');
            lock table postmeter.request_status_default in access exclusive mode;
            perform set_config('postmeter.moves_statuses', 'on', true);
            execute format('insert into postmeter.%I (%s) select %s from postmeter.request_status_default where date >= %L and date < %L',
                           name, columns, columns, day, day + interval '1 day');
            delete from postmeter.request_status_default d where d.date >= day and d.date < day + interval '1 day';
            perform set_config('postmeter.moves_statuses', 'off', true);
            execute format('alter table postmeter.request_status attach partition postmeter.%I for values from (%L) to (%L)',
                           name, day, day + interval '1 day');
            execute format('create trigger append_only before update or delete or truncate on postmeter.%I for each statement execute function postmeter.forbid_change()', name);
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

create or replace function postmeter.forget_requests(most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    lead      interval := (select s.tracker_lead_max from postmeter.setting s);
    horizon   timestamptz := (select date_trunc('day', postmeter.clock() - s.tracker_retention, 'UTC') from postmeter.setting s);
    forgotten integer;
    further   integer;
begin
    perform postmeter.take_gate('gather_requests');
    if exists (select from postmeter.request_news n where n.recorded_at < horizon) then
        return 0;
    end if;
    -- what was dated before its day had a partition
    perform set_config('postmeter.moves_statuses', 'on', true);
    with old as (
        select d.request_key, d.date, d.digest from postmeter.request_status_default d
        where d.date < horizon and d.recorded_at < horizon
        union all
        -- what is dated too far ahead retires by its recording
        select d.request_key, d.date, d.digest from postmeter.request_status_default d
        where d.date > postmeter.clock() + lead and d.recorded_at < horizon
        limit most
    ), gone as (
        delete from postmeter.request_status_default d using old o
        where d.request_key = o.request_key and d.date = o.date and d.digest = o.digest
        returning d.kind, d.message, d.date, d.recorded_at
    ), unsaid as (
        update postmeter.request_message_count c set n = c.n - g.n
        from (select x.message, x.kind, postmeter.hour_of(x.date) as hour, postmeter.hour_of(x.recorded_at) as recorded_hour, count(*) as n
              from gone x group by 1, 2, 3, 4) g
        where c.message = g.message and c.kind = g.kind and c.hour = g.hour and c.recorded_hour = g.recorded_hour
    ), uncounted as (
        update postmeter.request_status_count c set n = c.n - g.n
        from (select x.kind, postmeter.hour_of(x.date) as hour, postmeter.hour_of(x.recorded_at) as recorded_hour, count(*) as n
              from gone x group by 1, 2, 3) g
        where c.kind = g.kind and c.hour = g.hour and c.recorded_hour = g.recorded_hour
    )
    select count(*) into further from gone;
    perform set_config('postmeter.moves_statuses', 'off', true);
    with old as (
        select q.id from postmeter.request q
        where (q.last_date < horizon or q.last_date > postmeter.clock() + lead and q.last_recorded_at < horizon)
          and not exists (select from postmeter.request_status r where r.request_key = q.request_key and r.date <= q.last_date)
        order by q.last_date limit most
    ), gone as (
        delete from postmeter.request q using old o where q.id = o.id returning q.request_key, q.org, q.account, q.outcome, postmeter.hour_of(q.created_at) as hour
    ), silent as (
        delete from postmeter.request_unit u using gone g where u.request_key = g.request_key
    ), unawaited as (
        delete from postmeter.request_awaited u using gone g where u.request_key = g.request_key
    ), uncounted as (
        update postmeter.request_count c set n = c.n - g.n
        from (select x.org, x.account, x.outcome, x.hour, count(*) as n from gone x group by 1, 2, 3, 4) g
        where c.org = g.org and c.account = g.account and c.outcome = g.outcome and c.hour = g.hour
    ), fewer as (
        update postmeter.request_hour c set n = c.n - g.n
        from (select x.outcome, x.hour, count(*) as n from gone x group by 1, 2) g
        where c.outcome = g.outcome and c.hour = g.hour
    )
    select count(*) into forgotten from gone;
    delete from postmeter.request_heard c where c.slot < horizon;
    delete from postmeter.request_hour c where c.n = 0;
    delete from postmeter.request_count c where c.n = 0;
    delete from postmeter.request_status_count c where c.n = 0;
    delete from postmeter.request_message_count c where c.n = 0;
    return forgotten + further;
end
$$;

-- words that change -------------------------------------------------------------------------------------------------

create function postmeter.recount_requests(most integer) returns integer
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
        at_work.next_id := 0;
    end if;
    if at_work.next_id is null then
        return 0;
    end if;
    -- so many requests, or so many messages, whatever comes first; one request is never too many
    select array_agg(b.request_key) filter (where b.words is distinct from words_now), max(b.id) + 1, count(*)
    into stale, behind, seen
    from (
        select a.*, sum(case when a.words is distinct from words_now then a.statuses else 0 end) over (order by a.id) as messages,
               row_number() over (order by a.id) as n
        from (select q.id, q.request_key, q.words, q.statuses from postmeter.request q
              where q.id >= at_work.next_id order by q.id limit most) a
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
comment on function postmeter.recount_requests(integer) is
    'Looks through at most so many requests for outcomes that were computed by other words or rules than today''s, and computes those anew from their messages, about 10,000 of them at most; returns how many it looked at, 0 when all were. For workers, a batch at a time.';
revoke execute on function postmeter.recount_requests(integer) from public;
grant execute on function postmeter.recount_requests(integer) to postmeter_worker;

-- what is unfinished ------------------------------------------------------------------------------------------------

create or replace view postmeter.unfinished_request as
select q.request_id, q.org, q.account, q.inventory_id, q.system_id, q.open_services, q.statuses, q.created_at,
       q.last_date, q.last_recorded_at, postmeter.clock() - k.since as silent_for, q.missing_services
from (
    -- by the unit that is silent for longest, however much others say; computed before there were units, by its last word
    select z.request_key, min(z.since) as since
    from (
        select x.request_key, x.since
        from (select r.request_key, case when r.words is null then r.last_recorded_at else r.silent_since end as since
              from postmeter.request r where r.outcome = 'open') x
        where x.since < (select postmeter.clock() - s.tracker_unfinished_after from postmeter.setting s)
        union all
        select a.request_key, a.until from postmeter.request_awaited a where a.until < (select postmeter.clock())
    ) z
    group by 1
) k
join postmeter.request q on q.request_key = k.request_key
where q.outcome = 'open' and q.closed_at is null;
comment on column postmeter.unfinished_request.silent_for is 'For how long the service has said nothing that is silent for longest; of one that never spoke, for how long it is overdue.';
comment on view postmeter.unfinished_request is 'Requests that were received and never finished: some service has begun and not finished, and said nothing for setting.tracker_unfinished_after, whatever others say; or a route of the catalogue awaits a service for longer than it may. What a person closed is not among them.';
comment on column postmeter.unfinished_request.open_services is 'Who has not finished, and who never spoke.';
comment on column postmeter.unfinished_request.missing_services is 'Who never spoke, though a route of the catalogue leads there.';

-- a person closes a request -----------------------------------------------------------------------------------------

create function postmeter.close_request(request_id text, who text, why text)
returns table (outcome text, changed boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    gather_most constant integer := 10000;
    q postmeter.request;
begin
    perform postmeter.check_decider(who, why);
    -- what was committed before is no later word; of a long queue the rest opens it again, which errs on the safe side
    for turn in 1 .. 5 loop
        exit when postmeter.gather_requests(gather_most) < gather_most;
    end loop;
    -- and nobody computes it meanwhile: whoever holds a row of request has passed this gate
    perform postmeter.take_gate('gather_requests');
    select * into q from postmeter.request x where x.request_key = postmeter.request_key_of(close_request.request_id);
    if q.id is null then
        raise exception 'nobody said anything about request %', coalesce(quote_literal(request_id), 'without an id')
            using errcode = 'PM033', column = 'request_id', constraint = 'request_exists';
    end if;
    if q.closed_at is null then
        update postmeter.request x set closed_at = postmeter.clock() where x.id = q.id;
        insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
        values (who, why, 'close', q.outcome, 'closed', jsonb_build_object('request', q.request_id));
    end if;
    return query select q.outcome, q.closed_at is null;
end
$$;
comment on function postmeter.close_request(text, text, text) is
    'A person closes a request: it is not unfinished any more, whatever its outcome, and leaves the alert; the next word about it opens it again. Returns its outcome, and false if it was closed already. Refuses a request about which nobody said anything (PM033).';
revoke execute on function postmeter.close_request(text, text, text) from public;
grant execute on function postmeter.close_request(text, text, text) to postmeter_operator;

-- who is silent -----------------------------------------------------------------------------------------------------

create view postmeter.silent_service as
with moment as materialized (
    select m.now, m.now - s.tracker_unfinished_after as due_until, s.tracker_unfinished_after as patience,
           s.tracker_alert_share, s.tracker_alert_requests, s.tracker_alert_age
    from (select postmeter.clock() as now) m cross join postmeter.setting s
), open as materialized (
    select v.service, a.until is not null as is_missing, coalesce(a.until, h.silent_since) as silent_since,
           coalesce(a.until < m.now - m.tracker_alert_age, h.silent_since < m.due_until - m.tracker_alert_age) as is_old,
           -- What a route awaits came due when that time was over, any other by its last word: as request_heard has it, so
           -- that what is unfinished is a part of what came due.
           coalesce(a.until, h.heard_at + m.patience) >= m.now - interval '1 hour' as came_due, u.request_id
    from postmeter.unfinished_request u
    cross join moment m
    cross join lateral unnest(u.open_services) v(service)
    left join postmeter.request_awaited a on a.request_key = postmeter.request_key_of(u.request_id)
        and a.service = v.service
    left join lateral (
        select coalesce(min(n.heard_at) filter (where n.is_open), max(n.heard_at)) as silent_since, max(n.heard_at) as heard_at
        from (select x.heard_at, greatest(x.succeeded_at, x.failed_at) is null
                     or x.begun_at >= greatest(x.succeeded_at, x.failed_at) as is_open
              from postmeter.request_unit x
              where x.request_key = postmeter.request_key_of(u.request_id) and x.service = v.service offset 0) n
    ) h on true
    -- of the services of an unfinished request those that are silent, not those that are at work
    where coalesce(a.until < m.now, coalesce(h.silent_since, u.last_recorded_at) < m.due_until)
), per_service as (
    select o.service, count(*) as unfinished, count(*) filter (where o.is_old) as old,
        min(o.silent_since) as silent_since,
           count(*) filter (where o.came_due) as came_due_unfinished,
           count(*) filter (where o.came_due and o.is_missing) as came_due_missing,
           (array_agg(o.request_id order by o.silent_since, o.request_id))[1:5] as examples
    from open o group by 1
), counted as (
    select p.service, p.unfinished, p.old, p.silent_since, p.examples, p.came_due_unfinished,
           greatest(p.came_due_unfinished, p.came_due_missing + coalesce((
        select sum(h.n) from postmeter.request_heard h
        where h.service = p.service and h.slot < m.due_until
          and h.slot >= date_bin('5 minutes', m.due_until - interval '1 hour', 'epoch')), 0))::bigint as came_due
    from per_service p cross join moment m
)
select v.service, v.unfinished, v.came_due, v.came_due_unfinished, v.old, v.silent_since, v.examples, v.is_silent,
       row_number() over (order by v.is_silent desc, coalesce(k.said, 0) desc, v.service) as place
from (
    select c.service, c.unfinished, c.came_due, c.came_due_unfinished, c.old, c.silent_since, c.examples,
           c.old > 0
           or c.came_due >= m.tracker_alert_requests and c.came_due_unfinished > c.came_due * m.tracker_alert_share as is_silent
    from counted c cross join moment m
) v
left join (select q.service, sum(q.total) as said from postmeter.request_status_kind q group by 1) k on k.service = v.service;
comment on view postmeter.silent_service is 'Services at which requests are unfinished, and whether that is a matter for somebody: more than setting.tracker_alert_share of at least setting.tracker_alert_requests that came due in the last hour, or one for longer than setting.tracker_alert_age.';
comment on column postmeter.silent_service.service is 'Who is awaited.';
comment on column postmeter.silent_service.unfinished is 'Requests that are unfinished there.';
comment on column postmeter.silent_service.came_due is 'Requests that should have been finished there within the last hour, by five minutes.';
comment on column postmeter.silent_service.came_due_unfinished is 'Of these, how many are not.';
comment on column postmeter.silent_service.old is 'Unfinished for longer than setting.tracker_alert_age.';
comment on column postmeter.silent_service.silent_since is 'Since when it has said nothing about the one that is silent for longest; where it never spoke, when that was overdue.';
comment on column postmeter.silent_service.examples is 'Some of them, those of the longest silence first.';
comment on column postmeter.silent_service.is_silent is 'Whether it is a matter for somebody.';
comment on column postmeter.silent_service.place is 'Its place, from 1: those that are a matter for somebody first, and of these those that have said most so far. A list that is cut off by it lets no name that somebody invented push a known service out.';
grant select on postmeter.silent_service to postmeter_reader, postmeter_operator, postmeter_worker;

insert into postmeter.migration (version, name) values (66, '0066_pre_verdict');
