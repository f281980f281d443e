-- review_evidence: deliveries with late evidence that nobody has considered, and that are not in flight. Of an open hour what
-- was said of an earlier cut stays unread until it is judged, or the hour is cut: then it is not sent.
-- $1 at most so many, $2 only deliveries after this one. Relies on late_evidence_by_delivery.
select distinct e.delivery_id, n.destination_id
from postmeter.late_evidence e
join postmeter.delivery n on n.id = e.delivery_id
where e.id > n.evidence_read and n.status <> 'in_flight' and e.delivery_id > $2
  and not (n.status = 'open' and e.id <= coalesce((select max(c.evidence_id) from postmeter.contradiction c
                                                   where c.delivery_id = n.id and c.decision_id is null), 0))
order by e.delivery_id
limit $1
