-- health_server: the server's version and the settings that matter to us.
select pg_catalog.jsonb_build_object(
    'version', pg_catalog.current_setting('server_version_num')::integer,
    'standby', pg_is_in_recovery(),
    -- what a new session gets: our own transactions set some for themselves
    'settings', (select pg_catalog.jsonb_object_agg(s.name, s.reset_val) from pg_settings s
                 where s.name in ('fsync', 'full_page_writes', 'autovacuum', 'track_counts', 'max_prepared_transactions', 'server_version',
                                  'synchronous_commit', 'data_checksums', 'idle_in_transaction_session_timeout', 'autovacuum_naptime',
                                  'max_wal_size', 'shared_buffers', 'track_activities')),
    'encrypted', coalesce((select s.ssl from pg_stat_ssl s where s.pid = pg_backend_pid()), false),
    'remote', coalesce(inet_client_addr() is not null and not (inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() = '::1'), false),
    'sees_sessions', pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'usage'))
