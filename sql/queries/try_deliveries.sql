-- try_deliveries: locks those of the deliveries that nobody else holds, after their meters, in order of their numbers.
-- $1 deliveries.
select d.id from postmeter.delivery d where d.id = any ($1) order by d.id for update skip locked
