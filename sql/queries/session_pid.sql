-- session_pid: the process that serves this transaction.
select pg_backend_pid() as pid
