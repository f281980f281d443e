-- report_at_risk: per destination, status and currency, what misses its deadline within an hour as things are.
-- No parameters. Reads view postmeter.at_risk.
select r.destination, r.status, r.currency, count(*) as remittances, trim_scale(sum(r.quantity))::text as quantity,
       trim_scale(sum(r.amount))::text as amount, min(r.deadline) as earliest_deadline
from postmeter.at_risk r
group by r.destination, r.status, r.currency
order by min(r.deadline), r.destination, r.status
