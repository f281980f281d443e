-- shadow_resolve: what the catalogue says about each kind of usage at one shadow.
-- $1 orgs, $2 products, $3 metrics, $4 accounts, $5 hours, $6 the shadow. Relies on subscription_by_org, dimension_once_a_month.
select r.item, r.subscription_id, r.dimension_id, r.exemption_id, $6 as destination_id, r.reason
from postmeter.resolve($1, $2, $3, $4, $5, $6) r
order by r.item
