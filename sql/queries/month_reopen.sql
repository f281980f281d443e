-- month_reopen: opens a closed month again, and says what goes back to the outbox.
-- $1 destination, $2 first day of the month, $3 who, $4 why, $5 dry run.
select r.usages, r.org, r.product, r.metric, r.quantity::text
from postmeter.reopen_month($1, $2, $3, $4, $5) r
