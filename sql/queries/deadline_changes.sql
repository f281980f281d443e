-- deadline_changes: buyers whose subscriptions have changed, in the order in which that happened.
-- $1 at most so many, $2 only marks after this one.
select c.id from postmeter.deadline_change c where c.id > $2 order by c.id limit $1
