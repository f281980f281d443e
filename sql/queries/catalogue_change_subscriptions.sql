-- catalogue_change_subscriptions: changes subscriptions, by id; a new identity is to be read again, and a new contract counts from the next month on.
-- $1 array of objects with id.
update postmeter.subscription s
set identity = e.identity, contract = e.contract, valid_until = e.valid_until
from jsonb_to_recordset($1) e(id bigint, identity jsonb, contract text, valid_until timestamptz)
where s.id = e.id
