-- ledger_drop_leftovers: deletes a share of what is kept for each usage of a dropped month of the ledger; how many rows.
-- $1 first day of the month.
select postmeter.drop_ledger_leftovers($1)
