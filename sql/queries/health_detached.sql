-- health_detached: months (or days) of a partitioned table that somebody took out by hand: what is in them is not found any
-- more. detached: the table is there, outside; pending: a detach was begun; gone: the other tables of the ledger have the month.
with parent as (
    select p.parent, p.length, p.named
    from (values ('usage', 'month', '^_\d{6}$'), ('allocation', 'month', '^_\d{6}$'), ('attempt', 'month', '^_\d{6}$'),
                 ('outcome', 'month', '^_\d{6}$'), ('request_status', 'day', '^_\d{8}$')) p(parent, length, named)
), child as (
    select p.parent, p.length, c.relname::text as name, c.relispartition, coalesce(i.inhdetachpending, false) as pending,
           pg_catalog.to_date(pg_catalog.right(c.relname::text, case p.length when 'month' then 6 else 8 end),
                              case p.length when 'month' then 'YYYYMM' else 'YYYYMMDD' end) as starts
    from parent p
    join pg_catalog.pg_class c on c.relnamespace = (select n.oid from pg_catalog.pg_namespace n where n.nspname = 'postmeter')
     and c.relkind in ('r', 'p') and pg_catalog.starts_with(c.relname::text, p.parent)
     and pg_catalog.substr(c.relname::text, pg_catalog.length(p.parent) + 1) ~ p.named
    left join pg_catalog.pg_inherits i on i.inhrelid = c.oid
), fault as (
    select c.parent, c.name, c.starts, c.length, case when c.pending then 'pending' else 'detached' end as fault
    from child c where c.pending or not c.relispartition
    union all
    select p.parent, p.parent || pg_catalog.to_char(m.starts, '_YYYYMM'), m.starts, 'month', 'gone'
    from parent p
    cross join (select distinct c.starts from child c where c.length = 'month' and c.relispartition) m
    where p.length = 'month' and not exists (select from child c where c.parent = p.parent and c.starts = m.starts)
)
select pg_catalog.jsonb_build_object('parent', f.parent, 'name', f.name, 'fault', f.fault,
    'attach', case f.fault
        when 'detached' then pg_catalog.format('alter table postmeter.%I attach partition postmeter.%I for values from (%L) to (%L)',
            f.parent, f.name,
            case f.length when 'month' then (select s.first_id::text from postmeter.ledger_span(f.starts) s) else pg_catalog.to_char(f.starts, 'YYYY-MM-DD') || ' 00:00:00+00' end,
            case f.length when 'month' then (select s.until_id::text from postmeter.ledger_span(f.starts) s) else pg_catalog.to_char(f.starts + 1, 'YYYY-MM-DD') || ' 00:00:00+00' end)
        when 'pending' then pg_catalog.format('alter table postmeter.%I detach partition postmeter.%I finalize', f.parent, f.name)
    end)
from fault f
order by f.parent, f.name
limit 20
