-- settle_known: which of these deliveries there are; a settlement may tell of one that a restore took away.
-- $1 deliveries. Relies on delivery_pkey.
select d.id from postmeter.delivery d where d.id = any ($1)
