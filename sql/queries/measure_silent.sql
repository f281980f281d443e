-- measure_silent: services at which requests are unfinished, and whether that is a matter for somebody. The 99 that have said
-- most so far, so that invented names push no known one out; all others together.
select pg_catalog.jsonb_build_object('service', x.service, 'unfinished', sum(x.unfinished)::bigint, 'silent', bool_or(x.is_silent))
from (select case when s.place < 100 then s.service else 'other services' end as service, s.unfinished, s.is_silent
      from postmeter.silent_service s) x
group by x.service
order by bool_or(x.is_silent) desc, sum(x.unfinished) desc, x.service
