-- measure_forecast: how many deliveries will miss their deadline at the present rate, per live destination. Reads all that
-- waits: bounded by the asker's statement_timeout.
select pg_catalog.jsonb_build_object('destination', t.name, 'misses', coalesce(f.misses, 0))
from postmeter.destination t
left join postmeter.forecast f on f.destination = t.name
where t.shadow_of is null
