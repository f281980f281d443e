-- setback_put_down: members that were taken on and are locked still, or that nobody came to: others may try them. What is
-- locked for long is tried less often, every second at least: so long it may wait when it is free.
-- $1 step, $2 members.
update postmeter.setback s
set next_at = clock_timestamp() + least(interval '1 second', s.skipped * interval '0.2 seconds')
from (select b.step, b.member
      from postmeter.setback b
      where b.step = $1 and b.member = any ($2) and b.failed = 0
      order by b.step, b.member
      for update) b
where s.step = b.step and s.member = b.member
