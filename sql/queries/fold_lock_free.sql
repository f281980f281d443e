-- fold_lock_free: a shared lock on each remittance of a fold that no other session keeps, and for which no cut waits.
-- $1 deliveries, $2 those for which a cut waits (fold_held_off). Whether they are still open is read by fold_open_still, in
-- a later statement.
select d.id
from postmeter.delivery d
where d.id = any ($1)
  and d.id <> all ($2)
order by d.id for key share skip locked
