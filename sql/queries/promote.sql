-- promote: puts deliveries whose time has come back into the queue. What another session holds is passed over, and takes
-- nobody's place; what was set aside waits for its time.
-- $1 at most so many, $2 deliveries whose time to be tried again has not come. Relies on later_by_time.
with ripe as materialized (
    select l.delivery_id, d.destination_id, d.deadline
    from postmeter.later l
    join postmeter.delivery d on d.id = l.delivery_id
    where l.due_at <= (select postmeter.clock())
      and l.delivery_id not in (select n.id from unnest($2) n(id))
    order by l.due_at, l.delivery_id
    limit $1
    for update of l, d skip locked
), gone as (
    delete from postmeter.later l using ripe r where l.delivery_id = r.delivery_id
)
insert into postmeter.due (delivery_id, destination_id, deadline)
select r.delivery_id, r.destination_id, r.deadline from ripe r order by r.delivery_id
