-- ledger_exempted: what exempted usage of a month of the ledger, as the export writes it, in the order of the keys.
-- $1 first day of the month. Relies on exempted_pkey.
select postmeter.ledger_line(r)
from postmeter.exempted r
where r.usage_id >= (select s.first_id from postmeter.ledger_span($1) s) and r.usage_id < (select s.until_id from postmeter.ledger_span($1) s)
order by r.usage_id
