-- report_workers: workers whose lease holds. Real time, not postmeter.clock(): leases stay on it.
-- No parameters.
select w.name, w.version, w.started_at, extract(epoch from clock_timestamp() - w.heartbeat_at)::float8 as heartbeat_age
from postmeter.worker w
where w.stopped_at is null and w.reaped_at is null and w.lease_until > clock_timestamp()
order by w.name, w.started_at
