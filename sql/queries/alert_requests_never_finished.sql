-- alert_requests_never_finished: services at which too large a share of what came due is unfinished, or something for too
-- long. The 99 that have said most so far, so that invented names push no known one out; all others together. Reads view
-- postmeter.silent_service.
select x.service as subject, sum(x.unfinished)::bigint as count,
       pg_catalog.format('%s: of %s that came due in the last hour, %s %s not finished there%s', x.service,
              postmeter.counted(sum(x.came_due)::bigint, 'request'), sum(x.came_due_unfinished),
              case when sum(x.came_due_unfinished)::bigint = 1 then 'has' else 'have' end,
              case when sum(x.old)::bigint > 0 then '; ' || postmeter.counted(sum(x.old)::bigint, 'request') || ' for longer than setting.tracker_alert_age' else '' end) as summary,
       pg_catalog.jsonb_build_object('service', x.service, 'came_due', sum(x.came_due), 'unfinished', sum(x.came_due_unfinished),
                                     'old', sum(x.old), 'services', count(*),
                                     'examples', (pg_catalog.jsonb_agg(x.examples order by x.place) -> 0)) as details
from (select s.*, case when s.place < 100 then s.service else 'other services' end as name
      from postmeter.silent_service s where s.is_silent) y
cross join lateral (select y.name as service, y.unfinished, y.came_due, y.came_due_unfinished, y.old, y.examples, y.place) x
group by x.service
order by count desc, x.service
