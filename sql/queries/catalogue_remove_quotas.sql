-- catalogue_remove_quotas: removes quotas that nothing refers to.
-- $1 ids.
delete from postmeter.quota x where x.id = any ($1::bigint[])
