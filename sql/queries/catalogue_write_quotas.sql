-- catalogue_write_quotas: adds or changes quotas, by name.
-- $1 array of objects.
insert into postmeter.quota (name, calls_per_second)
select e.name, e.calls_per_second
from jsonb_to_recordset($1) e(name text, calls_per_second numeric)
on conflict (name) do update set calls_per_second = excluded.calls_per_second
