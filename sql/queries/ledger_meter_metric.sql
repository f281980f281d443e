-- ledger_meter_metric: rows of meter_metric of a billing month as its export writes them, in the order of their keys.
-- $1 destination, $2 first day of the month. Relies on meter_month.
select postmeter.ledger_line(k)
from postmeter.meter_metric k
join postmeter.meter m on m.id = k.meter_id
join postmeter.destination t on t.id = m.destination_id
where t.name = $1 and m.month = $2
order by k.id
