-- deadline_move: moves the deadlines of remittances, which are locked, to where their subscriptions put them; what is in the
-- queue moves in it, and what waits to be tried again is tried a last time before it. Rows of due are never updated: a claim
-- may be about to delete one by its place.
-- $1 deliveries.
with moved as materialized (
    update postmeter.delivery d
    set deadline = postmeter.deadline_of(d.destination_id, m.buyer, d.hour)
    from postmeter.meter m
    where d.id = any ($1) and m.id = d.meter_id
      and d.status in ('open', 'nothing_due', 'due', 'in_flight', 'rejected', 'unknown', 'held')
    returning d.id, d.destination_id, d.deadline
), gone as materialized (
    delete from postmeter.due q using moved m where q.destination_id = m.destination_id and q.delivery_id = m.id
    returning q.delivery_id
), hurried as materialized (
    -- as decide has it: twenty seconds before it at the latest, up to forty, so that they do not all come back at once
    delete from postmeter.later l using moved m where l.delivery_id = m.id and l.due_at > m.deadline - interval '20 seconds'
    returning l.delivery_id, l.destination_id, m.deadline - (20 + m.id % 20) * interval '1 second' as due_at
), waits as (
    insert into postmeter.later (delivery_id, destination_id, due_at)
    select h.delivery_id, h.destination_id, greatest(h.due_at, (select postmeter.clock())) from hurried h order by h.delivery_id
)
insert into postmeter.due (delivery_id, destination_id, deadline)
select m.id, m.destination_id, m.deadline from moved m join gone g on g.delivery_id = m.id order by m.id
