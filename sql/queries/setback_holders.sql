-- setback_holders: the sessions for which another one waits in the end: those it waits for may be waiting themselves.
-- $1 process id of the session that waits.
with recursive chain as (
    select b.pid from pg_catalog.unnest(pg_catalog.pg_blocking_pids($1)) b(pid)
    union
    select b.pid from chain c cross join lateral pg_catalog.unnest(pg_catalog.pg_blocking_pids(c.pid)) b(pid)
)
select pg_catalog.string_agg(pg_catalog.format('session %s of %s%s', a.pid, coalesce(a.usename::text, 'an unknown role'),
                                               coalesce(' (' || nullif(a.application_name, '') || ')', '')), ', ' order by a.pid) as holders
from chain c
join pg_catalog.pg_stat_activity a on a.pid = c.pid
where pg_catalog.cardinality(pg_catalog.pg_blocking_pids(c.pid)) = 0
