-- catalogue_change_subscriptions: changes subscriptions, by id; a new identity is to be read again.
-- $1 array of objects with id.
update postmeter.subscription s
set identity = e.identity, valid_until = e.valid_until
from jsonb_to_recordset($1) e(id bigint, identity jsonb, valid_until timestamptz)
where s.id = e.id
