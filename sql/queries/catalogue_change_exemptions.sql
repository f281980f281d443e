-- catalogue_change_exemptions: changes exemptions, by id.
-- $1 array of objects with id.
update postmeter.exemption x
set reason = e.reason, valid_until = e.valid_until
from jsonb_to_recordset($1) e(id bigint, reason text, valid_until timestamptz)
where x.id = e.id
