-- cut_lock_deliveries: locks the remittances, after their meters, in order of their numbers.
-- $1 deliveries.
select d.id from postmeter.delivery d where d.id = any ($1) order by d.id for update
