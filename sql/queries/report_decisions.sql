-- report_decisions: what people decided about a remittance or a usage.
-- $1 delivery or null, $2 usage or null. Relies on decision_by_delivery for the former.
select c.id, c.decided_at, c.who, c.why, c.verb, c.status_before, c.status_after,
       trim_scale(c.quantity)::text as quantity, c.target_delivery_id
from postmeter.decision_log c
where c.delivery_id = $1 or c.usage_id = $2
order by c.id
