-- deadline_move: moves the deadlines of remittances, which are locked, to where their subscriptions put them; what is in the
-- queue moves in it. Rows of due are never updated: a claim may be about to delete one by its place.
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
)
insert into postmeter.due (delivery_id, destination_id, deadline)
select m.id, m.destination_id, m.deadline from moved m join gone g on g.delivery_id = m.id order by m.id
