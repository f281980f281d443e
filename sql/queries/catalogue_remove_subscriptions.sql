-- catalogue_remove_subscriptions: removes subscriptions that nothing refers to.
-- $1 ids.
delete from postmeter.subscription x where x.id = any ($1::bigint[])
