-- report_shadow_meters: a shadow's month beside that of its live destination, per meter.
-- $1 shadow, $2 month (its first day). Reads view postmeter.shadow_meter_difference. Relies on meter_month.
select d.buyer, d.dimension, d.hours, d.hours_differ, trim_scale(d.live_quantity)::text as live_quantity,
       trim_scale(d.shadow_quantity)::text as shadow_quantity, trim_scale(d.difference)::text as difference,
       trim_scale(d.live_before_shadow)::text as live_before_shadow, trim_scale(d.live_amount)::text as live_amount,
       d.live_currency, trim_scale(d.shadow_amount)::text as shadow_amount, d.shadow_currency
from postmeter.shadow_meter_difference d
where d.shadow = $1 and d.month = $2
order by d.difference = 0, abs(d.difference) desc, d.buyer, d.dimension
