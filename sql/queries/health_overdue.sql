-- health_overdue: what is due although its deadline has passed. Relies on due_by_deadline (destination_id, deadline).
select pg_catalog.jsonb_build_object('destination', t.name, 'count', d.count)
from postmeter.destination t
cross join lateral (select count(*) as count from postmeter.due d
                    where d.destination_id = t.id and d.deadline < postmeter.clock()) d
where d.count > 0 and t.shadow_of is null
order by t.name
