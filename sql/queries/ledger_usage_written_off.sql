-- ledger_usage_written_off: decisions that gave up usage of a month of the ledger, as the export writes them, in the order of
-- the keys. $1 first day of the month. Relies on usage_written_off_pkey.
select postmeter.ledger_line(r)
from postmeter.usage_written_off r
where r.usage_id >= (select s.first_id from postmeter.ledger_span($1) s) and r.usage_id < (select s.until_id from postmeter.ledger_span($1) s)
order by r.usage_id
