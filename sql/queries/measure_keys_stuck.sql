-- measure_keys_stuck: idempotency keys that a request over HTTP has held for more than a minute: its transaction does not end.
-- As alert_key_stuck, which says why these locks are keys.
select pg_catalog.jsonb_build_object('count', count(*))
from pg_locks l
join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.objsubid = 1 and l.granted and l.mode = 'ExclusiveLock'
  and l.database = (select d.oid from pg_database d where d.datname = current_database())
  and a.pid <> pg_backend_pid() and pg_catalog.pg_has_role(a.usesysid, 'postmeter_console', 'member')
  and a.xact_start < clock_timestamp() - interval '1 minute'
