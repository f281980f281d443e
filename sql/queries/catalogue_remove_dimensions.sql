-- catalogue_remove_dimensions: removes dimensions that nothing refers to.
-- $1 ids.
delete from postmeter.dimension x where x.id = any ($1::bigint[])
