-- alert_key_stuck: idempotency keys that a request over HTTP holds for too long: the same key is answered 409 meanwhile.
-- A key is an advisory lock of a transaction; only sessions of the console's users count. A subject of null: see snapshot_pins_horizon.
with holding as (
    select a.pid, concat_ws(', ', nullif(a.application_name, ''), a.usename, a.client_addr) as owner, clock_timestamp() - a.xact_start as age, count(*) as keys
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.objsubid = 1 and l.granted and l.mode = 'ExclusiveLock'
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and a.pid <> pg_backend_pid() and pg_has_role(a.usesysid, 'postmeter_console', 'member')
      and a.xact_start <= clock_timestamp() - (select r.patience from postmeter.alert_rule r where r.name = 'key_stuck')
    group by 1, 2, 3
)
select '' as subject, sum(h.keys)::bigint as count,
       format('%s held for up to %s minutes by session %s (%s)', postmeter.counted(sum(h.keys)::bigint, 'key') || case when sum(h.keys) = 1 then ' is' else ' are' end,
              floor(extract(epoch from max(h.age)) / 60), (array_agg(h.pid order by h.age desc))[1], (array_agg(h.owner order by h.age desc))[1]) as summary,
       jsonb_build_object('examples', to_jsonb((array_agg('session ' || h.pid || ' (' || h.owner || ')' order by h.age desc, h.pid))[1:5])) as details
from holding h
having count(*) > 0
union all
select null, 0, 'this user may not see others'' sessions: grant it pg_read_all_stats', '{}'
where not pg_has_role(current_user, 'pg_read_all_stats', 'usage')
