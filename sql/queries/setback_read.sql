-- setback_read: what did not go through in the rounds before.
-- $1 step.
select s.member, s.destination_id, s.org, s.skipped, s.failed, s.set_aside_at is not null as is_set_aside,
       s.next_at <= clock_timestamp() as is_its_time
from postmeter.setback s
where s.step = $1
order by s.last_at, s.member
limit 10000
