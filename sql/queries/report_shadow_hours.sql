-- report_shadow_hours: the hours in which a shadow and its live destination differ.
-- $1 shadow, $2 month (its first day), $3 at most so many. Reads view postmeter.shadow_difference. Relies on meter_month.
select d.buyer, d.dimension, d.hour, d.live_status, d.live_quantity::text as live_quantity, d.shadow_status,
       d.shadow_quantity::text as shadow_quantity, d.difference::text as difference, d.verdict
from postmeter.shadow_difference d
where d.shadow = $1 and d.month = $2 and d.verdict not in ('equal', 'before_shadow')
order by d.hour, d.buyer, d.dimension
limit $3
