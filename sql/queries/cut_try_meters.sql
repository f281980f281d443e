-- cut_try_meters: locks those meters that these remittances count on which nobody else holds, in order of their numbers. Which
-- they are is read from their parts: whoever counts on a meter of another month has a part of it. What an hour with very many
-- usages counts on is looked for among them later, in cut_members, and only by the worker that has it.
-- $1 deliveries.
select m.id
from postmeter.meter m
where m.id in (
    select d.meter_id from postmeter.delivery d where d.id = any ($1)
    union
    select p.meter_id from postmeter.part p where p.delivery_id = any ($1)
)
order by m.id
for update skip locked
