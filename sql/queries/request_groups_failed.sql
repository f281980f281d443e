-- request_groups_failed: failed requests by the service that failed first and what it said. Relies on request_by_outcome.
-- $1 and $2 created from and until, or null; $3 of this org, or null; $4 requests that are looked at, the newest; $5 groups.
select f.failed_service as service, f.failure as message, count(*) as requests,
       (array_agg(f.request_id order by f.created_at desc, f.request_key desc))[1] as request_id,
       min(f.last_recorded_at) as silent_since, max(f.last_recorded_at) as last_recorded_at
from (
    select r.* from postmeter.request r
    where r.outcome = 'failed' and r.created_at >= coalesce($1::timestamptz, '-infinity') and r.created_at < coalesce($2::timestamptz, 'infinity')
      and ($3::text is null or r.org = $3)
    order by r.created_at desc, r.request_key desc limit $4
) f
group by 1, 2
order by requests desc, service, message
limit $5
