-- fold_lock: a shared lock on each remittance of a fold, in order of their numbers.
-- $1 deliveries. Whether they are still open is read by fold_open_still, in a later statement.
select d.id from postmeter.delivery d where d.id = any ($1) order by d.id for key share
