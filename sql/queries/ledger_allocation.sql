-- ledger_allocation: rows of a month of allocation as the export writes them, in the order of their keys.
-- $1 first day of the month. Relies on the partition's primary key.
select postmeter.ledger_line(r)
from postmeter.allocation r
where r.usage_id >= (select s.first_id from postmeter.ledger_span($1) s) and r.usage_id < (select s.until_id from postmeter.ledger_span($1) s)
order by r.usage_id, r.destination_id
