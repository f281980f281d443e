-- health_collation_of_database: whether the database's own collation has another version than when it was made. PostgreSQL 15 and later.
select pg_catalog.jsonb_build_object('database', pg_catalog.quote_ident(d.datname::text), 'then', d.datcollversion, 'now', pg_catalog.pg_database_collation_actual_version(d.oid))
from pg_catalog.pg_database d
where d.datname = pg_catalog.current_database() and d.datcollversion <> pg_catalog.pg_database_collation_actual_version(d.oid)
