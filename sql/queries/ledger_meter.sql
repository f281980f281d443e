-- ledger_meter: rows of meter of a billing month as its export writes them, in the order of their keys.
-- $1 destination, $2 first day of the month. Relies on meter_month.
select postmeter.ledger_line(m)
from postmeter.meter m
join postmeter.destination t on t.id = m.destination_id
where t.name = $1 and m.month = $2
order by m.id
