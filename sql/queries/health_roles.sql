-- health_roles: the roles of sql/roles.sql that are not there.
select w.name::text from pg_catalog.unnest(array['postmeter_migrator', 'postmeter_producer', 'postmeter_worker', 'postmeter_operator', 'postmeter_reader']) w(name)
where not exists (select from pg_roles r where r.rolname = w.name)
