-- ledger_outcome: rows of a month of outcome as the export writes them, in the order of their keys.
-- $1 first day of the month. Relies on the partition's primary key.
select postmeter.ledger_line(r)
from postmeter.outcome r
where r.attempt_id >= (select s.first_id from postmeter.ledger_span($1) s) and r.attempt_id < (select s.until_id from postmeter.ledger_span($1) s)
order by r.attempt_id
