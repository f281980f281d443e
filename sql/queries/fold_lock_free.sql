-- fold_lock_free: a shared lock on each remittance of a fold that no other session keeps, and for which no cut waits.
-- $1 deliveries. Whether they are still open is read by fold_open_still, in a later statement. Relies on setback_pkey.
select d.id
from postmeter.delivery d
where d.id = any ($1)
  and not exists (select from postmeter.setback b
                  where b.step = 'cut' and b.member = d.id::text and b.held_off_until > clock_timestamp())
order by d.id for key share skip locked
