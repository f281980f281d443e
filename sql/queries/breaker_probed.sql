-- breaker_probed: notes what a probe takes: should it fail, the next one takes another.
-- $1 destination, $2 worker, $3 and $4 deadline and number of the remittance.
update postmeter.breaker b set probed_deadline = $3, probed_delivery = $4
where b.destination_id = $1 and b.probing_by = $2
