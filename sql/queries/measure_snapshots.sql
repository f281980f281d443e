-- measure_snapshots: how far back the oldest snapshot reaches that keeps dead rows of this database from being removed.
with session as (
    select a.xact_start, a.backend_xmin from pg_stat_activity a
    where (a.backend_xmin is not null or a.backend_xid is not null or a.state like 'idle in transaction%')
      and a.pid <> pg_backend_pid() and a.backend_type <> 'autovacuum worker' and coalesce(a.datname = current_database(), true)
), prepared as (
    select p.prepared, p.transaction from pg_prepared_xacts p where p.database = current_database()
)
select jsonb_build_object(
    'seconds', coalesce(greatest((select max(extract(epoch from clock_timestamp() - s.xact_start)) from session s),
                                 (select max(extract(epoch from clock_timestamp() - p.prepared)) from prepared p)), 0),
    'transactions', coalesce(greatest((select max(age(s.backend_xmin)) from session s),
                                      (select max(age(p.transaction)) from prepared p),
                                      (select max(greatest(age(r.xmin), age(r.catalog_xmin))) from pg_replication_slots r)), 0),
    'sees_sessions', pg_has_role(current_user, 'pg_read_all_stats', 'usage'))
