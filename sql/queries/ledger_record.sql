-- ledger_record: records an export that was written and read again.
-- $1 month, $2 manifest, $3 who, $4 why.
select postmeter.record_ledger_export($1, $2, $3, $4)
