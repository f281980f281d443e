-- cut_try_meters: locks those meters that these remittances count on which nobody else holds, in order of their numbers.
-- $1 deliveries.
select m.id
from postmeter.meter m
where m.id in (
    select d.meter_id from postmeter.delivery d where d.id = any ($1)
    union
    select mm.meter_id
    from postmeter.allocation a
    join postmeter.delivery d on d.id = a.delivery_id and d.round = a.round
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    where a.delivery_id = any ($1)
    union
    select p.meter_id from postmeter.part p where p.delivery_id = any ($1)
)
order by m.id
for update skip locked
