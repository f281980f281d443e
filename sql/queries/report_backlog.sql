-- report_backlog: how much usage waits in the outbox, since when, and by which clock.
-- No parameters. Scans postmeter.outbox, which is small unless the workers are behind.
select s.purpose, postmeter.clock() as now, s.clock_frozen is not null or s.clock_shift <> '0' as is_clock_moved,
       (select count(*) from postmeter.outbox) as waiting,
       -- ids are ordered by time, so the smallest is the oldest
       (select u.recorded_at from postmeter.usage u
        where u.id = (select o.id from postmeter.outbox o order by o.id limit 1)) as oldest_recorded_at
from postmeter.setting s
