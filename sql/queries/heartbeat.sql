-- heartbeat: a worker renews its lease, in real time. No row: it was taken for dead and must begin anew.
-- Also tells where the server's history stands, so that a worker notices when it went back, and whether this is the installation.
-- $1 id, $2 before which no attempt is open, $3 whether it sleeps.
with before as materialized (
    select w.heartbeat_at as at from postmeter.worker w where w.id = $1
)
update postmeter.worker w
set heartbeat_at = clock_timestamp(), lease_until = clock_timestamp() + w.lease, oldest_attempt = $2, sleeping = $3,
    unbroken_since = case when w.lease_until < clock_timestamp() then clock_timestamp() else w.unbroken_since end
where w.id = $1 and w.reaped_at is null
returning substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) as timeline, pg_current_wal_flush_lsn()::text as flushed,
          pg_postmaster_start_time() as server_started_at, w.heartbeat_at as at, (select b.at from before b) as before,
          postmeter.installation_doubt() as doubt
