-- health_locks: tables of ours that a session keeps others from writing or reading, or is about to. What waits for such
-- a lock makes everybody wait who comes after it.
select pg_catalog.jsonb_build_object('table', c.relname, 'session', l.pid, 'mode', l.mode, 'waits', not l.granted)
from pg_catalog.pg_locks l
join pg_catalog.pg_class c on c.oid = l.relation
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where l.locktype = 'relation' and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
  and n.nspname = 'postmeter' and c.relkind in ('r', 'p') and l.pid <> pg_catalog.pg_backend_pid()
  and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
order by l.granted desc, c.relname
limit 20
