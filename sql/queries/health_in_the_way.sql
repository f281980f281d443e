-- health_in_the_way: what keeps the generations of identities from their turn: what others built on tables that turns drop,
-- and whoever holds a lock on what a turn locks for longer than it waits.
with locked as materialized (
    select c.oid, c.relname::text as name, c.reltype
    from pg_catalog.pg_class c
    where c.relnamespace = (select n.oid from pg_catalog.pg_namespace n where n.nspname = 'postmeter')
      and c.relname in ('usage_identity', 'usage_identity_before', 'identity_generation', 'setting')
), leans as (
    -- what is dropped with the table is of other kinds than n
    select distinct l.name, l.oid as on_it, d.classid, d.objid, d.objsubid
    from locked l
    join pg_catalog.pg_depend d on d.deptype = 'n'
     and (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid and d.refobjid = l.oid
          or d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid and d.refobjid = l.reltype)
    where l.name in ('usage_identity', 'usage_identity_before')
), built as (
    -- a view is known by its rule
    select l.name, l.on_it, v.classid, v.objid, v.objsubid,
           o.type as kind, o.identity, i.identity as relation, k.conname, k.conrelid
    from leans l
    left join pg_catalog.pg_rewrite r on l.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid and r.oid = l.objid
    left join pg_catalog.pg_class c on c.oid = r.ev_class and c.relkind in ('v', 'm')
    left join pg_catalog.pg_constraint k
        on l.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid and k.oid = l.objid
    cross join lateral (
        select case when c.oid is not null then 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid else l.classid end as classid,
               coalesce(c.oid, l.objid) as objid, l.objsubid) v
    cross join lateral pg_catalog.pg_identify_object(v.classid, v.objid, v.objsubid) o
    left join lateral pg_catalog.pg_identify_object(
        'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid,
        coalesce(k.conrelid, case when v.classid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid then v.objid end), 0) i on true
    where k.conrelid is distinct from l.on_it
)
select pg_catalog.jsonb_build_object('what', w.what, 'name', w.name, 'table', w.table_name, 'seconds', w.seconds, 'remedy', w.remedy)
from (
    select 'object' as what, b.kind || ' ' || b.identity as name, b.name as table_name, null::double precision as seconds,
           case when b.conname is not null then pg_catalog.format('alter table %s drop constraint %I', b.relation, b.conname)
                when b.kind = 'table' then pg_catalog.format('alter table %s no inherit postmeter.%I', b.relation, b.name)
                when b.kind = 'table column' then pg_catalog.format('alter table %s drop column %I', b.relation, (
                    select a.attname from pg_catalog.pg_attribute a where a.attrelid = b.objid and a.attnum = b.objsubid))
                else pg_catalog.format('drop %s %s', b.kind, b.identity) end as remedy
    from (select distinct * from built) b
    union all
    select case when l.pid is null then 'prepared' else 'session' end, coalesce(l.pid::text, ''), pg_catalog.min(t.name),
           pg_catalog.max(extract(epoch from clock_timestamp() - a.xact_start)::double precision), null
    from locked t
    join pg_catalog.pg_locks l on l.relation = t.oid and l.locktype = 'relation' and l.granted
     and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
     -- a turn locks the row of the settings, which whoever reads does not keep from it
     and (t.name <> 'setting' or l.mode <> 'AccessShareLock')
    left join pg_catalog.pg_stat_activity a on a.pid = l.pid
    where l.pid is distinct from pg_catalog.pg_backend_pid()
      -- it waits half a second at most; who may not see others' sessions is told of all
      and coalesce(a.xact_start < clock_timestamp() - interval '1 second', true)
    group by l.pid
) w
order by w.seconds desc nulls last, w.name, w.table_name
limit 20
