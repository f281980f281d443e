-- balance_moved_meters: meters that were written to and not proven since, in order of their numbers.
-- $1 only meters after this one, $2 at most so many.
select distinct m.meter_id from postmeter.balance_moved m where m.meter_id > $1 order by 1 limit $2
