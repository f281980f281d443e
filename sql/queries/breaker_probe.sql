-- breaker_probe: takes the right to the fleet's one probe, if the pause is over, nobody has it, and there is something to
-- probe with. $1 destination, $2 worker, $3 for how long (ms). No row: not now. Relies on due_by_deadline.
update postmeter.breaker b
set probing_by = $2, probing_until = clock_timestamp() + $3 * interval '1 millisecond', updated_at = clock_timestamp()
where b.destination_id = $1 and b.ramp is null and b.open_until <= clock_timestamp()
  and (b.probing_until is null or b.probing_until <= clock_timestamp())
  and exists (select from postmeter.due q where q.destination_id = $1)
returning b.probed_deadline, b.probed_delivery
