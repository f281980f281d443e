-- idempotency_read: what was answered to this key.
-- $1 caller, $2 key. Relies on idempotency_pkey.
select i.fingerprint, i.status, i.answer
from postmeter.idempotency i
where i.caller = $1 and i.key = $2
