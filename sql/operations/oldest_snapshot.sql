-- Who holds the oldest snapshot?
--
-- Sessions, prepared transactions and replication slots that keep dead rows from being removed, the worst first
-- (transactions: how far behind). A session that is idle in transaction can be ended: select pg_terminate_backend(pid);
-- a prepared transaction: rollback prepared 'gid'; a slot that nobody uses: pg_drop_replication_slot(name).
--
-- Run it as a superuser or a member of pg_monitor: others are not shown whose session it is.
--
-- Parameters: none.
--   psql -f sql/operations/oldest_snapshot.sql
--
--   what   | name  |         who         |        state        | transactions |   since  |        statement
-- ---------+-------+---------------------+---------------------+--------------+----------+-------------------------
--  session | 41712 | dbeaver, mira, shop | idle in transaction |       125731 | 03:12:45 | select * from big_table
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- oldest_snapshot
select h.what, h.name, h.who, h.state, h.transactions, h.since, h.statement
from (
    select 'session' as what, a.pid::text as name,
           concat_ws(', ', nullif(a.application_name, ''), a.usename, a.datname) as who,
           a.state, greatest(age(a.backend_xmin), age(a.backend_xid)) as transactions,
           date_trunc('second', clock_timestamp() - a.xact_start) as since, left(a.query, 80) as statement
    from pg_stat_activity a
    where (a.backend_xmin is not null or a.backend_xid is not null) and a.pid <> pg_backend_pid()
    union all
    select 'prepared', p.gid, concat_ws(', ', p.owner, p.database), null, age(p.transaction),
           date_trunc('second', clock_timestamp() - p.prepared), null
    from pg_prepared_xacts p
    union all
    select 'slot', s.slot_name, coalesce(s.plugin, s.slot_type), case when s.active then 'active' else 'not used' end,
           greatest(age(s.xmin), age(s.catalog_xmin)), null, null
    from pg_replication_slots s
    where s.xmin is not null or s.catalog_xmin is not null
) h
order by h.transactions desc nulls last, h.since desc nulls last, h.name
limit 50;
commit;
