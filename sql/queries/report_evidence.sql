-- report_evidence: what came late for a remittance, from workers that had lost their claim.
-- $1 delivery. Relies on late_evidence_by_delivery.
select e.attempt_id, e.outcome, e.code, trim_scale(e.shown_quantity)::text as shown_quantity, e.receipt, e.http_status,
       e.their_request_id, e.excerpt, e.recorded_at
from postmeter.late_evidence e
where e.delivery_id = $1
order by e.id
