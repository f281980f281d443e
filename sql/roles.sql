-- The roles of Postmeter. Run once per cluster, by a role that may create roles; harmless to run again.
-- They cannot log in: grant them to the users that can.  e.g.  grant postmeter_producer to billing_service;

-- whoever runs this is mighty: every function is named with its schema, so that none of somebody else's is called
do $$
declare
    role text;
begin
    foreach role in array array['migrator', 'producer', 'worker', 'operator', 'reader', 'console'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = 'postmeter_' || role) then
            execute pg_catalog.format('create role %I nologin', 'postmeter_' || role);
        end if;
    end loop;
end
$$;
comment on role postmeter_migrator is 'Owns the schema postmeter and applies its migrations.';
comment on role postmeter_producer is 'Records usage and can do nothing else.';
comment on role postmeter_worker is 'Folds, cuts, claims and settles; cannot change or delete evidence.';
comment on role postmeter_operator is 'Reads, decides (retry, release, write off, resolve, pause) and edits the catalogue.';
comment on role postmeter_reader is 'Reads the views and tables and can change nothing.';
comment on role postmeter_console is 'The HTTP door: records, reads and decides for its callers, each by the scopes of their token.';
grant postmeter_producer, postmeter_operator, postmeter_reader to postmeter_console;
