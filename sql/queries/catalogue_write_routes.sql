-- catalogue_write_routes: adds or changes routes, by what they connect.
-- $1 array of objects.
insert into postmeter.route (after, status, service, within)
select e.after, e.status, e.service, e.within
from jsonb_to_recordset($1) e(after text, status text, service text, within interval)
on conflict (after, status, service) do update set within = excluded.within
