-- health_contradictions: how often a marketplace says otherwise than it was settled and nobody has judged it, and if
-- the first can be counted as they say; one row. No parameters. Relies on contradiction_open.
select pg_catalog.jsonb_build_object('count', count(*), 'first', min(c.id),
    'as_theirs', coalesce((pg_catalog.array_agg(c.delivery_id is not null and not c.is_earlier order by c.id))[1],
                          false))
from postmeter.contradiction c
where c.decision_id is null
