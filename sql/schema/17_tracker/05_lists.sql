-- What people read of requests.

create function postmeter.requests_as_of() returns timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
declare
    floor postmeter.request_floor := postmeter.request_floor_now();
begin
    return coalesce(
        (select n.recorded_at from postmeter.request_news n where (n.xid, n.id) >= (floor.xid, floor.id)
         order by n.xid, n.id limit 1),
        postmeter.clock());
end
$$;
comment on function postmeter.requests_as_of() is
    'As of when requests and their counts are: when the first status was recorded that gather has not counted; if '
    'it has counted all, now.';

create view postmeter.unfinished_request as
select q.request_id, q.org, q.account, q.inventory_id, q.system_id, q.open_services, q.statuses, q.created_at,
       q.last_date, q.last_recorded_at, postmeter.clock() - k.since as silent_for, q.missing_services
from (
    -- by the unit that is silent for longest, however much others say; computed before there were units, by its last
    -- word
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
comment on view postmeter.unfinished_request is
    'Requests that were received and never finished: some service has begun and not finished, and said nothing for '
    'setting.tracker_unfinished_after, whatever others say; or a route of the catalogue awaits a service for '
    'longer than it may. What a person closed is not among them.';
comment on column postmeter.unfinished_request.request_id is 'In the form in which it was first recorded.';
comment on column postmeter.unfinished_request.org is 'Org of the request; empty: nobody said.';
comment on column postmeter.unfinished_request.account is 'Account of the request; empty: nobody said.';
comment on column postmeter.unfinished_request.inventory_id is 'Inventory id of the request; empty: nobody said.';
comment on column postmeter.unfinished_request.system_id is 'System id of the request; empty: nobody said.';
comment on column postmeter.unfinished_request.open_services is 'Who has not finished, and who never spoke.';
comment on column postmeter.unfinished_request.statuses is 'How many messages there are.';
comment on column postmeter.unfinished_request.created_at is 'Date of the first message.';
comment on column postmeter.unfinished_request.last_date is 'Latest date of its messages.';
comment on column postmeter.unfinished_request.last_recorded_at is 'When the last message was recorded.';
comment on column postmeter.unfinished_request.silent_for is
    'For how long the service has said nothing that is silent for longest; of one that never spoke, for how long '
    'it is overdue.';
comment on column postmeter.unfinished_request.missing_services is
    'Who never spoke, though a route of the catalogue leads there.';

create view postmeter.silent_service as
with moment as materialized (
    select m.now, m.now - s.tracker_unfinished_after as due_until, s.tracker_unfinished_after as patience,
           s.tracker_alert_share, s.tracker_alert_requests, s.tracker_alert_age
    from (select postmeter.clock() as now) m cross join postmeter.setting s
), open as materialized (
    select v.service, a.until is not null as is_missing, coalesce(a.until, h.silent_since) as silent_since,
           coalesce(a.until < m.now - m.tracker_alert_age, h.silent_since < m.due_until - m.tracker_alert_age) as
               is_old,
           -- What a route awaits came due when that time was over, any other by its last word: as request_heard has it,
           -- so
           -- that what is unfinished is a part of what came due.
           coalesce(a.until, h.heard_at + m.patience) >= m.now - interval '1 hour' as came_due, u.request_id
    from postmeter.unfinished_request u
    cross join moment m
    cross join lateral unnest(u.open_services) v(service)
    left join postmeter.request_awaited a on a.request_key = postmeter.request_key_of(u.request_id)
        and a.service = v.service
    left join lateral (
        select coalesce(min(n.heard_at) filter (where n.is_open), max(n.heard_at)) as silent_since,
            max(n.heard_at) as heard_at
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
           or c.came_due >= m.tracker_alert_requests
               and c.came_due_unfinished > c.came_due * m.tracker_alert_share as is_silent
    from counted c cross join moment m
) v
left join (select q.service, sum(q.total) as said from postmeter.request_status_kind q group by 1) k on k.service
    = v.service;
comment on view postmeter.silent_service is
    'Services at which requests are unfinished, and whether that is a matter for somebody: more than '
    'setting.tracker_alert_share of at least setting.tracker_alert_requests that came due in the last hour, or one '
    'for longer than setting.tracker_alert_age.';
comment on column postmeter.silent_service.service is 'Who is awaited.';
comment on column postmeter.silent_service.unfinished is 'Requests that are unfinished there.';
comment on column postmeter.silent_service.came_due is
    'Requests that should have been finished there within the last hour, by five minutes.';
comment on column postmeter.silent_service.came_due_unfinished is 'Of these, how many are not.';
comment on column postmeter.silent_service.old is 'Unfinished for longer than setting.tracker_alert_age.';
comment on column postmeter.silent_service.silent_since is
    'Since when it has said nothing about the one that is silent for longest; where it never spoke, when that was '
    'overdue.';
comment on column postmeter.silent_service.examples is 'Some of them, those of the longest silence first.';
comment on column postmeter.silent_service.is_silent is 'Whether it is a matter for somebody.';
comment on column postmeter.silent_service.place is
    'Its place, from 1: those that are a matter for somebody first, and of these those that have said most so far. '
    'A list that is cut off by it lets no name that somebody invented push a known service out.';

create view postmeter.request_refusal_list as
    select r.hour, r.door, r.field, r.reason, r.n, r.first_at, r.last_at, r.said,
           to_char(r.hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24') || '/' || r.door || '/' || r.field || '/'
               || r.reason as id
    from postmeter.request_refusal r
    where r.hour >= postmeter.clock() - (select s.tracker_refusals_kept from postmeter.setting s);
comment on view postmeter.request_refusal_list is
    'Request statuses that HTTP and imports refused, by hour, door, field and reason.';
comment on column postmeter.request_refusal_list.hour is 'See request_refusal.hour.';
comment on column postmeter.request_refusal_list.door is 'See request_refusal.door.';
comment on column postmeter.request_refusal_list.field is 'See request_refusal.field.';
comment on column postmeter.request_refusal_list.reason is 'See request_refusal.reason.';
comment on column postmeter.request_refusal_list.n is 'How many.';
comment on column postmeter.request_refusal_list.first_at is 'The first of them.';
comment on column postmeter.request_refusal_list.last_at is 'The last of them.';
comment on column postmeter.request_refusal_list.said is 'See request_refusal.said.';
comment on column postmeter.request_refusal_list.id is 'Hour, door, field and reason in one text.';
