-- report_contradictions: contradictions of one remittance, or all that are open (null), the oldest first; 50 at most. $1 delivery.
-- Relies on contradiction_open and contradiction_by_delivery.
select c.id, c.destination, c.delivery_id, coalesce(c.key, concat_ws('/', c.buyer, c.dimension) || ', ' || c.day::text) as about,
       c.source, c.says, c.is_earlier,
       c.their_quantity::text as their_quantity, c.attempt_id, c.said_at, c.settled_as, c.our_quantity::text as our_quantity,
       c.settled_verb, c.settled_by, c.settled_why, c.counts, c.judged_by, c.judged_why
from postmeter.contradiction_list c
where case when $1::bigint is null then c.is_open else c.delivery_id = $1 end
order by c.id
limit 50
