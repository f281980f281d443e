-- catalogue_read: how a subscription's identity reads.
-- $1 subscription, $2 canonical buyer, $3 account, $4 form, $5 or why it is refused.
update postmeter.subscription
set buyer = $2, buyer_account = $3, identity_form = $4, invalid = $5
where id = $1
