-- review_evidence: late evidence that nobody has considered, of deliveries that are not in flight; locks them in order.
-- $1 at most so many. Relies on late_evidence_by_delivery.
select d.id, d.status, d.maybe_billed
from postmeter.delivery d
where d.id in (
    select e.delivery_id
    from postmeter.late_evidence e
    join postmeter.delivery n on n.id = e.delivery_id
    where e.id > n.evidence_read and n.status <> 'in_flight'
    limit $1
)
order by d.id
for update
