-- health_held: held usage by reason, one of it, and when the first of it misses its deadline. Reads all of held.
select pg_catalog.jsonb_build_object('reason', h.reason, 'count', count(*), 'orgs', pg_catalog.count(distinct h.org),
    'example', pg_catalog.min(h.usage_id::text),
    'first_deadline_seconds', extract(epoch from pg_catalog.min(h.deadline) - postmeter.clock()))
from postmeter.held h
group by h.reason
order by h.reason
