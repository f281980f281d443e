-- setback_take_on: takes on members that did not go through before, the one that was tried longest ago first; for five seconds
-- nobody else tries them.
-- $1 step. Relies on setback_pkey.
update postmeter.setback s
set next_at = clock_timestamp() + interval '5 seconds'
from (select b.step, b.member
      from postmeter.setback b
      where b.step = $1 and b.next_at <= clock_timestamp()
      order by b.last_at, b.member
      limit 50
      for update skip locked) b
where s.step = b.step and s.member = b.member
returning s.member, s.org, s.skipped
