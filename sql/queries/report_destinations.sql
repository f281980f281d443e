-- report_destinations: every destination, whether it is sending, and when the next of its later tries is.
-- No parameters.
select q.destination, q.paused, q.dry_run, q.shadow, q.next_at as next_try_at
from postmeter.queue q
order by q.destination
