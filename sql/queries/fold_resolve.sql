-- fold_resolve: what the catalogue says about each kind of usage in a fold.
-- $1 orgs, $2 products, $3 metrics, $4 accounts, $5 hours. Relies on subscription_by_org, dimension_once_a_month.
select r.item, r.subscription_id, r.dimension_id, r.exemption_id, r.destination_id, r.reason,
       exists (select from postmeter.destination t where t.shadow_of is not null) as has_shadow
from postmeter.resolve($1, $2, $3, $4, $5) r
order by r.item
