-- cut_try_meters: locks those meters that these remittances count on which nobody else holds, in order of their numbers, and
-- those that share a contract's cover with them. Which they are is read from their parts: whoever counts on a meter of another
-- month or contract has a part of it. What an hour with very many usages counts on is looked for among them later, in
-- cut_members, and only by the worker that has it.
-- $1 deliveries.
with counted as materialized (
    select d.meter_id from postmeter.delivery d where d.id = any ($1)
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
for update skip locked
