-- lock_deliveries: locks deliveries, after their meters, in order of their numbers; waits for who holds one.
-- $1 deliveries.
select d.id from postmeter.delivery d where d.id = any ($1) order by d.id for update
