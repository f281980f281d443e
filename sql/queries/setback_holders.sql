-- setback_holders: the sessions for which another one waits.
-- $1 process id of the session that waits.
select pg_catalog.string_agg(pg_catalog.format('session %s of %s%s', a.pid, coalesce(a.usename::text, 'an unknown role'),
                                               coalesce(' (' || nullif(a.application_name, '') || ')', '')), ', ' order by a.pid) as holders
from pg_catalog.unnest(pg_catalog.pg_blocking_pids($1)) b(pid)
join pg_catalog.pg_stat_activity a on a.pid = b.pid
