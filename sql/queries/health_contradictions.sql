-- health_contradictions: how often a marketplace says otherwise than it was settled and nobody has judged it; one row.
-- No parameters. Relies on contradiction_open.
select pg_catalog.jsonb_build_object('count', count(*), 'first', min(c.id))
from postmeter.contradiction c
where c.decision_id is null
