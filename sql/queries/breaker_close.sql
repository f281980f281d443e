-- breaker_close: a destination is healthy again. $1 destination, $2 worker, $3 the ramp so far (null: its probe was answered,
-- and one call at a time is all it takes).
delete from postmeter.breaker b
where b.destination_id = $1 and (b.ramp = $3 or ($3 is null and b.ramp is null and b.probing_by = $2))
returning b.destination_id
