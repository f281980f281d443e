-- catalogue_remove_exemptions: removes exemptions that nothing refers to.
-- $1 ids.
delete from postmeter.exemption x where x.id = any ($1::bigint[])
