-- alert_requests_never_finished: requests that were received and never finished, counted up to a bound. Reads view postmeter.unfinished_request.
with unfinished as materialized (
    select q.request_id, q.open_services, q.last_recorded_at from postmeter.unfinished_request q limit 100000
)
select '' as subject, count(*) as count,
       pg_catalog.format('%s%s received and never finished', postmeter.counted(count(*), 'request'),
              case when count(*) = 100000 then ' or more were' when count(*) = 1 then ' was' else ' were' end) as summary,
       pg_catalog.jsonb_build_object('services', (select pg_catalog.jsonb_object_agg(x.service, x.n) from (
               select s.service, count(*) as n from unfinished u, pg_catalog.unnest(u.open_services) s(service) group by 1 order by 2 desc, 1 limit 5) x),
           'examples', pg_catalog.to_jsonb((pg_catalog.array_agg(u.request_id order by u.last_recorded_at, u.request_id))[1:5])) as details
from unfinished u
having count(*) > 0
