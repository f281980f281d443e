-- promote_candidates: deliveries whose time has come, when all of them together could not be put back into the queue.
-- $1 at most so many, $2 deliveries whose time to be tried again has not come. Relies on later_by_time.
select l.delivery_id, d.destination_id
from postmeter.later l
join postmeter.delivery d on d.id = l.delivery_id
where l.due_at <= (select postmeter.clock()) and l.delivery_id not in (select n.id from unnest($2) n(id))
order by l.due_at, l.delivery_id
limit $1
