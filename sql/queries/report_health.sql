-- report_health: destinations whose breaker is not closed; lengths in seconds of real time.
-- No parameters.
select h.destination, h.breaker, h.ramp, h.last_outcome, h.last_code, h.last_http_status, h.probing,
       extract(epoch from clock_timestamp() - h.since)::double precision as open_seconds,
       extract(epoch from h.next_probe_at - clock_timestamp())::double precision as next_probe_seconds
from postmeter.destination_health h
where h.breaker <> 'closed'
order by h.destination
