-- breaker_ramp: a recovering destination gets more calls in flight. $1 destination, $2 worker, $3 the ramp so far (null: its
-- probe was answered), $4 the next. No row: another worker was first, or it is broken again.
update postmeter.breaker b
set ramp = $4, probing_by = null, probing_until = null, updated_at = clock_timestamp()
where b.destination_id = $1 and (b.ramp = $3 or ($3 is null and b.ramp is null and b.probing_by = $2))
returning b.ramp
