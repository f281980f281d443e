-- fold_lock: a shared lock on each remittance of a fold for which no cut waits, in order of their numbers.
-- $1 deliveries. Whether they are still open is read by fold_open_still, in a later statement. Relies on setback_pkey.
select d.id
from postmeter.delivery d
where d.id = any ($1)
  and not exists (select from postmeter.setback b
                  where b.step = 'cut' and b.member = d.id::text and b.held_off_until > clock_timestamp())
order by d.id for key share
