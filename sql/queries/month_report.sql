-- month_report: what a month leaves open at a destination.
-- $1 destination, $2 first day of the month.
select r.class, r.reason, r.meter_id, r.buyer, r.org, r.product, r.metric, r.dimension, r.items, r.quantity::text, r.unit,
       r.amount::text, r.currency, r.to_do
from postmeter.close_report($1, $2) r
-- refuses a destination or a day that there is not, also when there is nothing to report
where postmeter.month_last_deadline($1, $2) is not null
