-- maintain_stuck: dead letters that may move without a person now.
-- $1 at most so many, $2 of shadows or of live destinations, $3 and $4 only after this time and delivery. Relies on stuck_again.
select s.delivery_id, s.destination_id, s.again_at
from postmeter.stuck s
where s.again_at <= postmeter.clock() and (s.again_at, s.delivery_id) > ($3::timestamptz, $4::bigint)
  and (s.destination_id in (select t.id from postmeter.destination t where t.shadow_of is not null)) = $2
order by s.again_at, s.delivery_id
limit $1
