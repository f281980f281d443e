-- cut_lock_meters: locks every meter that these remittances count on, and those that share a contract's cover with them, in
-- order of their numbers.
-- $1 deliveries.
with counted as materialized (
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
select m.id
from postmeter.meter m
where m.id in (
    select c.meter_id from counted c
    union
    select s.other_id from counted c cross join lateral postmeter.shares_cover(c.meter_id) s
)
order by m.id
for update
