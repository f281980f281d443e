-- fold_resolve: what the catalogue says about each kind of usage in a fold, and whether it has shadows and limits.
-- $1 orgs, $2 products, $3 metrics, $4 accounts, $5 hours. Relies on subscription_by_org, dimension_once_a_month, dimension_limited.
select r.item, r.subscription_id, r.dimension_id, r.exemption_id, r.destination_id, r.reason,
       exists (select from postmeter.destination t where t.shadow_of is not null) as has_shadow,
       exists (select from postmeter.dimension d where d.max_quantity is not null or d.times_usual is not null) as has_limits
from postmeter.resolve($1, $2, $3, $4, $5) r
order by r.item
