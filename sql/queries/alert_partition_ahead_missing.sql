-- alert_partition_ahead_missing: partitioned tables whose next partition is not there, or whose rows had to go to the default one.
with parents as (
    select c.oid, c.relname as parent, pg_catalog.max(pg_catalog.length(substring(k.relname from '_([0-9]+)$'))) as digits
    from pg_class c
    join pg_inherits i on i.inhparent = c.oid
    join pg_class k on k.oid = i.inhrelid
    where c.relnamespace = 'postmeter'::regnamespace and c.relkind = 'p'
      -- whose one partition is not one of time
      and c.relname <> 'outbox'::name
    group by 1, 2
), lacking as (
    select p.parent::text || ' has no partition for ' || n.name as what
    from parents p
    cross join lateral (
        select pg_catalog.to_char(pg_catalog.date_trunc('month', clock_timestamp(), 'UTC') at time zone 'UTC' + interval '1 month' * g::double precision, 'YYYYMM') as name
        from pg_catalog.generate_series(0, 1) g where p.digits is distinct from 8
        union all
        select pg_catalog.to_char(pg_catalog.date_trunc('day', postmeter.clock(), 'UTC') at time zone 'UTC' + interval '1 day' * g::double precision, 'YYYYMMDD')
        from pg_catalog.generate_series(0, 1) g where p.digits = 8
    ) n
    where not exists (select from pg_class c
                      where c.oid = pg_catalog.to_regclass('postmeter.' || p.parent::text || '_' || n.name)::oid and c.relispartition)
    union all
    select s.parent::text || ' has rows in its default partition'
    from (values ('usage', exists (select from postmeter.usage_default)), ('allocation', exists (select from postmeter.allocation_default)),
                 ('attempt', exists (select from postmeter.attempt_default)), ('outcome', exists (select from postmeter.outcome_default))) s(parent, spilled)
    where s.spilled
)
select '' as subject, count(*) as count, pg_catalog.string_agg(l.what, '; ' order by l.what) as summary,
       pg_catalog.jsonb_build_object('examples', pg_catalog.to_jsonb((pg_catalog.array_agg(l.what order by l.what))[1:5])) as details
from lacking l
having count(*) > 0
