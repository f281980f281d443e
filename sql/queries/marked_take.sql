-- marked_take: takes marks of buyers whose usage may be counted elsewhere since the catalogue changed, the one that was longest
-- untouched first; for half a minute nobody else takes them. What awaits the end of older transactions is left until then (a
-- number from another server awaits nothing).
-- $1 at most so many. Relies on catalogue_mark_by_time.
with ripe as materialized (
    select c.id from postmeter.catalogue_mark c
    where c.next_at <= clock_timestamp()
      and (c.awaits is null or c.awaits <= pg_snapshot_xmin(pg_current_snapshot()) or c.awaits > pg_snapshot_xmax(pg_current_snapshot()))
    order by c.next_at, c.id
    limit $1
    for update skip locked
)
update postmeter.catalogue_mark c
set next_at = clock_timestamp() + interval '30 seconds'
from ripe r where c.id = r.id
returning c.id
