-- Which tables are the biggest, and how many dead rows are in them?
--
-- Partitions are added to their table. Many dead rows and no recent vacuum: somebody holds an old snapshot (see
-- oldest_snapshot), or autovacuum does not keep up. Numbers of rows are the server's estimates.
--
-- Parameters: none.
--   psql -f sql/operations/biggest_tables.sql
--
--   table   |  total  |  rows   | indexes | live_rows | dead_rows | partitions |     last_vacuum
-- ----------+---------+---------+---------+-----------+-----------+------------+---------------------
--  attempt  | 2911 MB | 1250 MB | 1661 MB |  10000000 |         0 |          4 | 2024-09-18 03:10:11
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- biggest_tables
with relation as (
    select coalesce(i.inhparent, c.oid) as parent, c.oid, c.relkind
    from pg_class c
    left join pg_inherits i on i.inhrelid = c.oid
    where c.relnamespace = 'postmeter'::regnamespace and c.relkind in ('r', 'p')
)
select p.relname as table, pg_size_pretty(sum(pg_total_relation_size(r.oid))) as total,
       pg_size_pretty(sum(pg_table_size(r.oid))) as rows, pg_size_pretty(sum(pg_indexes_size(r.oid))) as indexes,
       sum(coalesce(s.n_live_tup, 0)) as live_rows, sum(coalesce(s.n_dead_tup, 0)) as dead_rows,
       count(*) filter (where r.oid <> r.parent) as partitions,
       max(greatest(s.last_vacuum, s.last_autovacuum)) as last_vacuum
from relation r
join pg_class p on p.oid = r.parent
left join pg_stat_all_tables s on s.relid = r.oid
group by p.relname
order by sum(pg_total_relation_size(r.oid)) desc, p.relname
limit 20;
commit;
