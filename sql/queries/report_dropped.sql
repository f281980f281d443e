-- report_dropped: the month of the ledger with which a usage was dropped; no row: it was not.
-- $1 source and $2 event id, or $3 usage id. Known by source and event id as long as its identity is kept.
select to_char(d.month, 'YYYY-MM') as month
from postmeter.ledger_drop d
where d.month = date_trunc('month', postmeter.moment_of(coalesce($3, postmeter.usage_of($1, $2))) at time zone 'UTC')::date
