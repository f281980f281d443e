-- fold_lock: a shared lock on each remittance of a fold for which no cut waits, in order of their numbers.
-- $1 deliveries, $2 those for which a cut waits (fold_held_off). Whether they are still open is read by fold_open_still, in
-- a later statement.
select d.id
from postmeter.delivery d
where d.id = any ($1)
  and d.id <> all ($2)
order by d.id for key share
