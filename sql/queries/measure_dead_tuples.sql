-- measure_dead_tuples: dead rows of each table that is not partitioned, by the server's own count.
select pg_catalog.jsonb_build_object('table', s.relname, 'count', s.n_dead_tup)
from pg_stat_user_tables s
join pg_class c on c.oid = s.relid
where s.schemaname = 'postmeter' and not c.relispartition and c.relkind = 'r'
