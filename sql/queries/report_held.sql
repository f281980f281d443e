-- report_held: held usage by reason, product and metric, the largest groups first.
-- No parameters. Scans postmeter.held. Quantities are in units of the metric, so they are never summed over metrics.
select h.reason, h.product, h.metric, count(*) as usages, pg_catalog.count(distinct h.org) as orgs,
       pg_catalog.trim_scale(pg_catalog.sum(h.quantity))::text as quantity, pg_catalog.min(h.held_at) as held_since, pg_catalog.min(h.deadline) as earliest_deadline
from postmeter.held h
group by h.reason, h.product, h.metric
order by usages desc, h.reason, h.product, h.metric
limit 1000
