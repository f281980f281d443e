-- health_sessions: who holds back the clean-up of dead rows: transactions open for more than a minute, prepared ones, replication slots.
select pg_catalog.jsonb_build_object('what', h.what, 'name', h.name, 'owner', h.owner, 'seconds', h.seconds)
from (
    select case when a.state like 'idle in transaction%' then 'idle' else 'session' end as what, a.pid::text as name,
           pg_catalog.concat_ws(', ', nullif(a.application_name, ''), a.usename, a.datname) as owner,
           extract(epoch from clock_timestamp() - a.xact_start) as seconds
    from pg_stat_activity a
    where a.pid <> pg_backend_pid() and a.backend_type <> 'autovacuum worker'
      and a.xact_start < clock_timestamp() - interval '1 minute'
      and (a.backend_xmin is not null or a.backend_xid is not null or a.state like 'idle in transaction%')
    union all
    select 'prepared', p.gid, p.owner, extract(epoch from clock_timestamp() - p.prepared)
    from pg_prepared_xacts p where p.prepared < clock_timestamp() - interval '1 minute'
    union all
    select 'slot', s.slot_name, coalesce(s.plugin, s.slot_type), null
    from pg_replication_slots s where not s.active and (s.xmin is not null or s.catalog_xmin is not null)
) h
order by h.seconds desc nulls last
limit 20
