-- cut_members: the remittances that are still open, with every meter each counts on; read after the last lock.
-- $1 deliveries.
select d.id, array_agg(distinct c.meter_id) as meters, d.deadline < postmeter.clock() as is_late
from postmeter.delivery d
cross join lateral (
    select d.meter_id
    union
    select mm.meter_id
    from postmeter.allocation a
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    where a.delivery_id = d.id and a.round = d.round
    union
    select p.meter_id from postmeter.part p where p.delivery_id = d.id
) c
where d.id = any ($1) and d.status = 'open'
group by d.id
order by d.id
