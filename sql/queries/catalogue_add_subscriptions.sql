-- catalogue_add_subscriptions: adds subscriptions; their identities are to be read.
-- $1 array of objects.
insert into postmeter.subscription (org, product, account, destination_id, identity, contract, valid_from, valid_until)
select e.org, e.product, e.account, t.id, e.identity, e.contract, e.valid_from, e.valid_until
from jsonb_to_recordset($1) e(org text, product text, account text, destination text, identity jsonb,
    contract text, valid_from timestamptz, valid_until timestamptz)
join postmeter.destination t on t.name = e.destination
order by e.org, e.product, e.account, e.valid_from
