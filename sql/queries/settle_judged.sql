-- settle_judged: these buyers' refusals are their own.
-- $1 deliveries.
update postmeter.refusal r
set judged_at = clock_timestamp()
from postmeter.delivery d
join postmeter.meter m on m.id = d.meter_id
where d.id = any ($1) and r.destination_id = d.destination_id and r.buyer = m.buyer and r.judged_at is null
