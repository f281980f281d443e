-- gate_holders: sessions that keep a whole table of ours from others, or wait to: who closes months keeps closed_month. Side
-- tables, for which no step waits, tell nothing.
select string_agg(format('session %s of %s%s, which %s %s', a.pid, coalesce(a.usename::text, 'an unknown role'),
                         coalesce(' (' || nullif(a.application_name, '') || ')', ''),
                         case when l.granted then 'holds' else 'waits for' end, c.oid::regclass), ', ' order by l.granted desc, a.pid) as holders
from pg_locks l
join pg_class c on c.oid = l.relation and c.relnamespace = 'postmeter'::regnamespace
join pg_stat_activity a on a.pid = l.pid
where l.mode in ('ExclusiveLock', 'AccessExclusiveLock') and c.relkind in ('r', 'p')
  and c.relname not in ('setback', 'suspect', 'suspect_range', 'cure', 'step_failure') and a.pid <> pg_backend_pid()
  and l.database = (select d.oid from pg_database d where d.datname = current_database())
