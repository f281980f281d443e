-- alert_poison: what killed workers and was put aside.
-- Reads stuck and held.
with poisonous as (
    select t.name as destination, 'remittance ' || d.id::text as item
    from postmeter.stuck s
    join postmeter.delivery d on d.id = s.delivery_id and d.reason = 'poison'
    join postmeter.destination t on t.id = s.destination_id
    where s.status = 'held'
    union all
    select coalesce(t.name, ''), 'usage ' || h.usage_id::text
    from postmeter.held h left join postmeter.destination t on t.id = h.destination_id
    where h.reason = 'poison'
)
select p.destination as subject, count(*) as count,
       pg_catalog.format('%s%s killed workers and %s held as poison', postmeter.counted(count(*), 'thing'),
              case when p.destination <> '' then ' at ' || p.destination else '' end, case when count(*) = 1 then 'is' else 'are' end) as summary,
       pg_catalog.jsonb_build_object('examples', pg_catalog.to_jsonb((pg_catalog.array_agg(p.item order by p.item))[1:5])) as details
from poisonous p
group by p.destination
