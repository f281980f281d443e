-- settle_beside: others were accepted after these buyers were refused, in the same call: at the next refusal it is their own.
-- $1 deliveries.
update postmeter.refusal r
set passed_at = clock_timestamp()
from postmeter.delivery d
join postmeter.meter m on m.id = d.meter_id
where d.id = any ($1) and r.destination_id = d.destination_id and r.buyer = m.buyer and r.passed_at is null
