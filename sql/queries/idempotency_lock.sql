-- idempotency_lock: true if nobody else is at work on this key; the lock ends with the transaction.
-- $1 caller, $2 key.
select pg_try_advisory_xact_lock(hashtextextended('idempotency:' || length($1) || ':' || $1 || $2, 0))
