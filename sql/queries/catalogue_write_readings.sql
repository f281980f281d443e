-- catalogue_write_readings: how identities read, in canonical form, so that no usage waits for a worker to read them.
-- $1 array of objects with org, product, account, destination, valid_from (which name one subscription), buyer, buyer_account, form.
update postmeter.subscription s
set buyer = e.buyer, buyer_account = e.buyer_account, identity_form = e.form, invalid = null
from jsonb_to_recordset($1) e(org text, product text, account text, destination text, valid_from timestamptz,
    buyer text, buyer_account text, form text)
join postmeter.destination t on t.name = e.destination
where s.org = e.org and s.product = e.product and s.account is not distinct from e.account
  and s.destination_id = t.id and s.valid_from = e.valid_from
  and (s.buyer, s.buyer_account, s.identity_form) is distinct from (e.buyer, e.buyer_account, e.form)
