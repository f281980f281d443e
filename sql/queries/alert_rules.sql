-- alert_rules: the rules, when each was looked at, and what stands in the way of looking; and of posting.
select r.name, r.severity, r.enabled, r.failure, extract(epoch from clock_timestamp() - r.failing_since)::double precision as failing_seconds,
       case when r.checked_at > '-infinity' then extract(epoch from clock_timestamp() - r.checked_at)::double precision end as checked_seconds,
       extract(epoch from r.every)::double precision as every_seconds
from postmeter.alert_rule r
order by r.name
