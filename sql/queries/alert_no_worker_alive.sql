-- alert_no_worker_alive: whether no worker has beaten its heart in time. Asked by a console or a command: a worker that asks is alive.
with last as (
    select pg_catalog.max(w.lease_until) as lease_until, pg_catalog.max(w.heartbeat_at) as heartbeat_at from postmeter.worker w where w.stopped_at is null
), stopped as (
    select pg_catalog.max(w.stopped_at) as stopped_at from postmeter.worker w
)
select '' as subject, 1::bigint as count,
       'no worker is alive: nothing is folded, cut or sent' || coalesce('; the last sign of life was at '
           || pg_catalog.to_char(greatest(l.heartbeat_at, s.stopped_at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC', '') as summary,
       pg_catalog.jsonb_build_object('last_heartbeat', l.heartbeat_at, 'last_stop', s.stopped_at) as details
from last l, stopped s
where coalesce(greatest(l.lease_until, s.stopped_at), '-infinity')
      <= clock_timestamp() - (select r.patience from postmeter.alert_rule r where r.name = 'no_worker_alive')
