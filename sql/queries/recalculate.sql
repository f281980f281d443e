-- recalculate: a month from its usage, against what was billed; a line per meter or metric and part.
-- $1 destination, $2 first day of the month.
select r.buyer, r.dimension, r.meter_id, r.denominator::text, r.org, r.product, r.metric, r.part, r.reason, r.quantity::text,
       trim_scale(round(r.quantity / r.denominator, 15))::text as billing_units
from postmeter.recalculate($1, $2) r
