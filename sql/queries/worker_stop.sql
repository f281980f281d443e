-- worker_stop: a worker says that it has stopped, with nothing left in its hands.
-- $1 id.
update postmeter.worker w
set stopped_at = clock_timestamp(), sleeping = false, folding = null, lease_until = clock_timestamp()
where w.id = $1 and w.reaped_at is null
