-- alert_requests_never_finished: services at which too large a share of what came due is unfinished, or something for too
-- long. Reads view postmeter.silent_service.
select x.service as subject, x.unfinished as count,
       pg_catalog.format('%s: of %s that came due in the last hour, %s %s not finished there%s', x.service,
              postmeter.counted(x.came_due, 'request'), x.came_due_unfinished,
              case when x.came_due_unfinished = 1 then 'has' else 'have' end,
              case when x.old > 0 then '; ' || postmeter.counted(x.old, 'request') || ' for longer than setting.tracker_alert_age' else '' end) as summary,
       pg_catalog.jsonb_build_object('service', x.service, 'came_due', x.came_due, 'unfinished', x.came_due_unfinished,
                                     'old', x.old, 'examples', x.examples) as details
from postmeter.silent_service x
where x.is_silent
order by x.unfinished desc, x.service
limit 100
