-- shadow_held: usage that shadows did not count, for a reason that the catalogue can cure.
-- $1 at most so many, $2 and $3 only usage after this one (shadow, usage). Relies on shadow_usage_pkey.
select g.destination_id, g.usage_id, g.org
from postmeter.shadow_usage g
where (g.destination_id, g.usage_id) > ($2, $3)
  and g.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
order by g.destination_id, g.usage_id
limit $1
