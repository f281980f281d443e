-- session_pid: the process id of this session, by which others find for whom it waits.
select pg_catalog.pg_backend_pid() as pid
