-- ledger_drop: drops a finished and exported month; or says what would be dropped.
-- $1 month, $2 who, $3 why, $4 dry run.
select d.table_name, d.rows, d.bytes from postmeter.drop_ledger_month($1, $2, $3, $4) d
