-- catalogue_remove_destinations: removes destinations that nothing refers to.
-- $1 ids.
delete from postmeter.destination x where x.id = any ($1::bigint[])
