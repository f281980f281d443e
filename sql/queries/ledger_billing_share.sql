-- ledger_billing_share: drops the next share of a billing month that is being dropped.
-- $1 destination, $2 month, $3 at most so many remittances.
select d.meters, d.remittances, d.is_done from postmeter.drop_month_share($1, $2, $3) d
