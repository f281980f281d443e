-- month_close: closes a month at a destination, and says what it leaves open.
-- $1 destination, $2 first day of the month, $3 who, $4 why, $5 dry run, $6 although hours of it can still be sent.
select r.class, r.reason, r.meter_id, r.buyer, r.org, r.product, r.metric, r.dimension, r.items, r.quantity::text, r.unit,
       r.amount::text, r.currency, r.to_do
from postmeter.close_month($1, $2, $3, $4, $5, $6) r
