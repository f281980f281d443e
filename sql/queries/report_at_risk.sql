-- report_at_risk: per destination, status and currency, what misses its deadline within an hour as things are.
-- No parameters. Reads view postmeter.at_risk.
select r.destination, r.status, r.currency, count(*) as remittances, pg_catalog.trim_scale(pg_catalog.sum(r.quantity))::text as quantity,
       pg_catalog.trim_scale(pg_catalog.sum(r.amount))::text as amount, pg_catalog.min(r.deadline) as earliest_deadline
from postmeter.at_risk r
group by r.destination, r.status, r.currency
order by pg_catalog.min(r.deadline), r.destination, r.status
