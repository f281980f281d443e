-- promote_these: puts those of these deliveries back into the queue whose time has come and that nobody else holds.
-- $1 deliveries.
with ripe as materialized (
    select l.delivery_id, d.destination_id, d.deadline
    from postmeter.later l
    join postmeter.delivery d on d.id = l.delivery_id
    where l.delivery_id = any ($1) and l.due_at <= (select postmeter.clock())
    order by l.delivery_id
    for update of l, d skip locked
), gone as (
    delete from postmeter.later l using ripe r where l.delivery_id = r.delivery_id
)
insert into postmeter.due (delivery_id, destination_id, deadline)
select r.delivery_id, r.destination_id, r.deadline from ripe r order by r.delivery_id
