-- request_groups_open: open requests by the service that has not finished, the longest silent first. A request that waits for
-- two services is in both groups. Relies on request_by_outcome.
-- $1 and $2 created from and until, or null; $3 of this org, or null; $4 requests that are looked at, the newest; $5 groups.
select s.service, null::text as message, count(*) as requests,
       (array_agg(f.request_id order by f.last_recorded_at, f.request_key))[1] as request_id,
       min(f.last_recorded_at) as silent_since, max(f.last_recorded_at) as last_recorded_at
from (
    select r.* from postmeter.request r
    where r.outcome = 'open' and r.closed_at is null and r.created_at >= coalesce($1::timestamptz, '-infinity')
      and r.created_at < coalesce($2::timestamptz, 'infinity') and ($3::text is null or r.org = $3)
    order by r.created_at desc, r.request_key desc limit $4
) f
cross join lateral unnest(f.open_services) s(service)
group by 1
order by silent_since, service
limit $5
