-- setback_read: what did not go through in the rounds before; what was waited for alone comes behind what never was, and then
-- the one that was longest ago first.
-- $1 step.
select s.member, s.destination_id, s.org, s.skipped, s.failed, s.set_aside_at is not null as is_set_aside,
       s.next_at <= clock_timestamp() as is_its_time
from postmeter.setback s
where s.step = $1
order by s.held_off_until nulls first, s.last_at, s.member
limit 10000
