#!/usr/bin/env bash
# Run once by the Postgres image, after the roles: a user for each process and for a person.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --set password="$POSTGRES_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
create role postmeter_owner login password :'password' in role postmeter_migrator;
alter role postmeter_owner set role = postmeter_migrator;
select pg_catalog.format('grant create on database %I to postmeter_migrator', pg_catalog.current_database()) \gexec
create role postmeter_sender login password :'password' in role postmeter_worker, pg_read_all_stats;
create role postmeter_door login password :'password' in role postmeter_console;
create role postmeter_person login password :'password' in role postmeter_operator, pg_read_all_stats;
alter role postmeter_person set search_path = pg_catalog, pg_temp;
create role billing_service login password :'password' in role postmeter_producer;
SQL
