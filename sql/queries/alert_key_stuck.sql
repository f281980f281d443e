-- alert_key_stuck: idempotency keys that a request over HTTP holds for too long: the same key is answered 409 meanwhile.
-- A key is an advisory lock of a transaction; only sessions of the console's users count. A subject of null: see snapshot_pins_horizon.
with holding as (
    select a.pid, pg_catalog.concat_ws(', ', nullif(a.application_name, ''), a.usename, a.client_addr) as owner, clock_timestamp() - a.xact_start as age, count(*) as keys
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.objsubid = 1 and l.granted and l.mode = 'ExclusiveLock'
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and a.pid <> pg_backend_pid() and pg_catalog.pg_has_role(a.usesysid, 'postmeter_console', 'member')
      and a.xact_start <= clock_timestamp() - (select r.patience from postmeter.alert_rule r where r.name = 'key_stuck')
    group by 1, 2, 3
)
select '' as subject, pg_catalog.sum(h.keys)::bigint as count,
       pg_catalog.format('%s held for up to %s minutes by session %s (%s)', postmeter.counted(pg_catalog.sum(h.keys)::bigint, 'key') || case when pg_catalog.sum(h.keys) = 1::numeric then ' is' else ' are' end,
              pg_catalog.floor(extract(epoch from pg_catalog.max(h.age)) / 60::numeric), (pg_catalog.array_agg(h.pid order by h.age desc))[1], (pg_catalog.array_agg(h.owner order by h.age desc))[1]) as summary,
       pg_catalog.jsonb_build_object('examples', pg_catalog.to_jsonb((pg_catalog.array_agg('session ' || h.pid::text || ' (' || h.owner || ')' order by h.age desc, h.pid))[1:5])) as details
from holding h
having count(*) > 0
union all
select null, 0, 'this user may not see others'' sessions: grant it pg_read_all_stats', '{}'
where not pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'usage')
