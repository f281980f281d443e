-- alert_contradiction: what the marketplace says otherwise than it was settled here, and nobody has judged.
-- Reads open contradictions (contradiction_open).
select t.name as subject, count(*) as count,
       pg_catalog.format('%s at %s: they say otherwise than what was settled here', postmeter.counted(count(*), 'contradiction'), t.name) as summary,
       pg_catalog.jsonb_build_object('since', pg_catalog.min(c.noted_at),
           'examples', pg_catalog.to_jsonb((pg_catalog.array_agg('contradiction ' || c.id::text || coalesce(': remittance ' || c.delivery_id::text, ': a day of ' || c.buyer)
                                            order by c.id))[1:5])) as details
from postmeter.contradiction c
join postmeter.destination t on t.id = c.destination_id
where c.decision_id is null
group by t.name
