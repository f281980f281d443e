-- measure_fleet: how many workers and consoles live, and how many are missing.
select pg_catalog.jsonb_build_object('part', f.part, 'alive', f.alive, 'missing', f.missing)
from postmeter.fleet f
