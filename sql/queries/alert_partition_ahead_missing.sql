-- alert_partition_ahead_missing: partitioned tables whose next partition is not there, or whose rows had to go to the default one.
with parents as (
    select c.oid, c.relname as parent, max(length(substring(k.relname from '_([0-9]+)$'))) as digits
    from pg_class c
    join pg_inherits i on i.inhparent = c.oid
    join pg_class k on k.oid = i.inhrelid
    where c.relnamespace = 'postmeter'::regnamespace and c.relkind = 'p'
    group by 1, 2
), lacking as (
    select p.parent || ' has no partition for ' || n.name as what
    from parents p
    cross join lateral (
        select to_char(date_trunc('month', clock_timestamp(), 'UTC') at time zone 'UTC' + g * interval '1 month', 'YYYYMM') as name
        from generate_series(0, 1) g where p.digits is distinct from 8
        union all
        select to_char(date_trunc('day', postmeter.clock(), 'UTC') at time zone 'UTC' + g * interval '1 day', 'YYYYMMDD')
        from generate_series(0, 1) g where p.digits = 8
    ) n
    where to_regclass('postmeter.' || p.parent || '_' || n.name) is null
    union all
    select s.parent || ' has rows in its default partition'
    from (values ('usage', exists (select from postmeter.usage_default)), ('allocation', exists (select from postmeter.allocation_default)),
                 ('attempt', exists (select from postmeter.attempt_default)), ('outcome', exists (select from postmeter.outcome_default))) s(parent, spilled)
    where s.spilled
)
select '' as subject, count(*) as count, string_agg(l.what, '; ' order by l.what) as summary,
       jsonb_build_object('examples', to_jsonb((array_agg(l.what order by l.what))[1:5])) as details
from lacking l
having count(*) > 0
