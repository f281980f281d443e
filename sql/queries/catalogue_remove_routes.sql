-- catalogue_remove_routes: removes routes.
-- $1 ids.
delete from postmeter.route x where x.id = any ($1::bigint[])
