-- fold_usual: the largest usage that a fold counts of an org and metric, where nothing as large is known of this week.
-- $1 orgs, $2 products, $3 metrics, $4 quantities.
insert into postmeter.usual (org, product, metric, week, largest)
select g.org, g.product, g.metric, postmeter.this_week(), g.largest
from unnest($1, $2, $3, $4) g(org, product, metric, largest)
