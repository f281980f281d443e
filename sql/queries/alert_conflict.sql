-- alert_conflict: remittances of which the marketplace holds another quantity.
-- Reads stuck, and the delivery of each.
select t.name as subject, count(*) as count,
       pg_catalog.format('%s at %s: they hold another quantity than ours', postmeter.counted(count(*), 'conflict'), t.name) as summary,
       pg_catalog.jsonb_build_object('since', pg_catalog.min(s.since), 'examples', pg_catalog.to_jsonb((pg_catalog.array_agg('remittance ' || d.id::text order by s.since, d.id))[1:5])) as details
from postmeter.stuck s
join postmeter.delivery d on d.id = s.delivery_id and not d.shadow
join postmeter.destination t on t.id = s.destination_id
where s.status = 'conflict'
group by t.name
having pg_catalog.min(s.since) <= postmeter.clock() - (select r.patience from postmeter.alert_rule r where r.name = 'conflict')
