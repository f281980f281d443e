-- review_evidence: deliveries with late evidence that nobody has considered, and that are not in flight.
-- $1 at most so many, $2 only deliveries after this one. Relies on late_evidence_by_delivery.
select distinct e.delivery_id, n.destination_id
from postmeter.late_evidence e
join postmeter.delivery n on n.id = e.delivery_id
where e.id > n.evidence_read and n.status <> 'in_flight' and e.delivery_id > $2
order by e.delivery_id
limit $1
