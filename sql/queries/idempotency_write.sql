-- idempotency_write: keeps an answer, in the transaction that did what it says.
-- $1 caller, $2 key, $3 fingerprint, $4 status, $5 answer.
insert into postmeter.idempotency (caller, key, fingerprint, status, answer) values ($1, $2, $3, $4, $5)
