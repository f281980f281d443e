-- catalogue_add_exemptions: adds exemptions.
-- $1 array of objects.
insert into postmeter.exemption (org, product, reason, valid_from, valid_until)
select e.org, e.product, e.reason, e.valid_from, e.valid_until
from jsonb_to_recordset($1) e(org text, product text, reason text, valid_from timestamptz, valid_until timestamptz)
