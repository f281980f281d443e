-- alert_snapshot_pins_horizon: who holds back the clean-up of dead rows for too long: an open transaction of this database, a prepared one, a slot.
-- A subject of null is a look that was none: this user may not see others' sessions.
with holders as (
    select 'session ' || a.pid::text as holder, pg_catalog.concat_ws(', ', nullif(a.application_name, ''), a.usename, a.client_addr) as owner,
           case when a.state like 'idle in transaction%' then ', idle in transaction' else '' end as how,
           clock_timestamp() - a.xact_start as age, a.pid
    from pg_stat_activity a
    where a.pid <> pg_backend_pid() and a.backend_type <> 'autovacuum worker'
      and (a.datname = current_database() or a.datname is null)
      -- a standby's feedback has no transaction here that one could end
      and a.xact_start is not null
      and (a.backend_xmin is not null or a.backend_xid is not null or a.state like 'idle in transaction%')
    union all
    select 'prepared transaction ' || p.gid, p.owner, '', clock_timestamp() - p.prepared, null
    from pg_prepared_xacts p where p.database = current_database()
    union all
    select 'replication slot ' || s.slot_name::text, coalesce(s.plugin, s.slot_type), ', inactive', null, null
    from pg_replication_slots s
    where not s.active and (s.xmin is not null or s.catalog_xmin is not null) and coalesce(s.database, current_database()) = current_database()
), pinning as (
    select h.*, row_number() over (order by h.age desc nulls first, h.holder) as place
    from holders h
    where h.age is null or h.age > (select r.patience from postmeter.alert_rule r where r.name = 'snapshot_pins_horizon')
)
select '' as subject, count(*) as count,
       pg_catalog.format('%s (%s%s) holds its snapshot%s: dead rows stay, and queues become slow%s', p.holder, p.owner, p.how,
              coalesce(' since ' || pg_catalog.floor(extract(epoch from p.age) / 60::numeric)::text || ' minutes', ''),
              case when count(*) over () > 1 then '; and others' else '' end) as summary,
       pg_catalog.jsonb_build_object('pid', p.pid, 'seconds', pg_catalog.floor(extract(epoch from p.age)),
           'examples', (select pg_catalog.jsonb_agg(x.holder || ' (' || x.owner || x.how || ')' order by x.place) from pinning x where x.place <= 5)) as details
from pinning p
where p.place = 1
group by p.holder, p.owner, p.how, p.age, p.pid
union all
select null, 0, 'this user may not see others'' sessions: grant it pg_read_all_stats', '{}'
where not pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'usage')
