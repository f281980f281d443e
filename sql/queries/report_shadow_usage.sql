-- report_shadow_usage: the usage behind a shadow's month: counted live, counted by the shadow, and not counted there, why.
-- $1 shadow, $2 month (its first day). Reads view postmeter.shadow_usage_difference.
select d.org, d.product, d.metric, d.live_usages, d.live_quantity::text as live_quantity, d.shadow_usages,
       d.shadow_quantity::text as shadow_quantity, d.uncounted_usages, d.uncounted_quantity::text as uncounted_quantity,
       d.reasons, d.difference::text as difference
from postmeter.shadow_usage_difference d
where d.shadow = $1 and d.month = $2
order by d.uncounted_usages = 0, d.difference = 0, d.org, d.product, d.metric
