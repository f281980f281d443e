-- promote_candidates: deliveries whose time has come, when all of them together could not be put back into the queue.
-- $1 at most so many. Relies on later_by_time.
select l.delivery_id, d.destination_id
from postmeter.later l
join postmeter.delivery d on d.id = l.delivery_id
left join postmeter.setback s on s.step = 'promote' and s.member = l.delivery_id::text
where l.due_at <= (select postmeter.clock()) and (s.next_at is null or s.next_at <= clock_timestamp())
order by l.due_at, l.delivery_id
limit $1
