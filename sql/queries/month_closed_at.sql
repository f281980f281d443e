-- month_closed_at: since when a month is closed at a destination; no row if it is not.
-- $1 destination, $2 first day of the month.
select c.closed_at
from postmeter.closed_month c join postmeter.destination t on t.id = c.destination_id
where t.name = $1 and c.month = $2
