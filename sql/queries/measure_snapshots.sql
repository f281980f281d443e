-- measure_snapshots: how far back the oldest snapshot reaches that keeps dead rows of this database from being removed.
with session as (
    select a.xact_start, a.backend_xmin from pg_stat_activity a
    where (a.backend_xmin is not null or a.backend_xid is not null or a.state like 'idle in transaction%')
      and a.pid <> pg_backend_pid() and a.backend_type <> 'autovacuum worker' and coalesce(a.datname = current_database(), true)
), prepared as (
    select p.prepared, p.transaction from pg_prepared_xacts p where p.database = current_database()
)
select pg_catalog.jsonb_build_object(
    'seconds', coalesce(greatest((select pg_catalog.max(extract(epoch from clock_timestamp() - s.xact_start)) from session s),
                                 (select pg_catalog.max(extract(epoch from clock_timestamp() - p.prepared)) from prepared p)), 0),
    'transactions', coalesce(greatest((select pg_catalog.max(pg_catalog.age(s.backend_xmin)) from session s),
                                      (select pg_catalog.max(pg_catalog.age(p.transaction)) from prepared p),
                                      (select pg_catalog.max(greatest(pg_catalog.age(r.xmin), pg_catalog.age(r.catalog_xmin))) from pg_replication_slots r)), 0),
    'sees_sessions', pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'usage'))
