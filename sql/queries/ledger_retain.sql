-- ledger_retain: for how long the ledger is kept at least.
-- $1 a span of time as text (null: for ever), $2 who, $3 why.
select postmeter.set_ledger_retention($1::text::interval, $2, $3)
