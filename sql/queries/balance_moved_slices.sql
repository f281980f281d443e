-- balance_moved_slices: slices of usage that went somewhere and were not proven since, in their order.
-- $1 only slices after this one, $2 at most so many.
select distinct m.slice from postmeter.usage_moved m where m.slice > $1 order by 1 limit $2
