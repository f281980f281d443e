-- ledger_billing_record: records the export of a billing month that was written and read again.
-- $1 destination, $2 month, $3 manifest, $4 who, $5 why.
select postmeter.record_month_export($1, $2, $3, $4, $5)
