-- promote: puts deliveries whose time has come back into the queue. What another session holds is passed over, and takes
-- nobody's place; what was set aside waits for its time.
-- $1 at most so many. Relies on later_by_time.
with ripe as materialized (
    select l.delivery_id, d.destination_id, d.deadline
    from postmeter.later l
    join postmeter.delivery d on d.id = l.delivery_id
    where l.due_at <= (select postmeter.clock())
      and not exists (select from postmeter.setback s
                      where s.step = 'promote' and s.member = l.delivery_id::text and s.next_at > clock_timestamp())
    order by l.due_at, l.delivery_id
    limit $1
    for update of l, d skip locked
), gone as (
    delete from postmeter.later l using ripe r where l.delivery_id = r.delivery_id
)
insert into postmeter.due (delivery_id, destination_id, deadline)
select r.delivery_id, r.destination_id, r.deadline from ripe r order by r.delivery_id
