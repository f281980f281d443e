-- measure_silent: services at which requests are unfinished, and whether that is a matter for somebody; the 100 with most.
select pg_catalog.jsonb_build_object('service', x.service, 'unfinished', x.unfinished, 'silent', x.is_silent)
from (select * from postmeter.silent_service s order by s.is_silent desc, s.unfinished desc, s.service limit 100) x
