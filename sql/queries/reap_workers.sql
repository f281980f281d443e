-- reap_workers: workers whose lease is over; each is taken by one reaper.
-- $1 the reaper: it must itself have been well for a lease. After a restart of the server leases count from its return.
with dead as (
    select w.id
    from postmeter.worker w
    where w.reaped_at is null and w.id <> $1
      and greatest(w.lease_until, pg_postmaster_start_time() + w.lease) < clock_timestamp()
      and exists (select from postmeter.worker r
                  where r.id = $1 and r.reaped_at is null and r.unbroken_since + r.lease <= clock_timestamp()
                    and r.lease_until > clock_timestamp())
    for update skip locked
)
update postmeter.worker w
set reaped_at = clock_timestamp(), sleeping = false
from dead d where w.id = d.id
returning w.id, w.name, w.folding, w.oldest_attempt, w.stopped_at is not null as stopped
