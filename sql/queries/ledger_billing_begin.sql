-- ledger_billing_begin: marks a billing month as being dropped; or says what would be dropped.
-- $1 destination, $2 month, $3 who, $4 why, $5 dry run, $6 a month of the ledger that counts as dropped in a dry run.
select d.table_name, d.rows, d.bytes from postmeter.begin_month_drop($1, $2, $3, $4, $5, $6) d
