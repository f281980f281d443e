-- deadline_behind: remittances of these buyers that are not sent yet and whose deadline is not that of their subscriptions.
-- $1 marks, $2 at most so many, $3 only remittances after this one. Relies on the keys of meter and delivery.
select o.id as delivery_id, o.destination_id
from (select distinct c.destination_id, c.buyer from postmeter.deadline_change c where c.id = any ($1)) c
join postmeter.destination t on t.id = c.destination_id
join postmeter.meter m on m.destination_id = c.destination_id and m.buyer = c.buyer
join postmeter.delivery o on o.meter_id = m.id and o.hour > postmeter.clock() - t.age_limit
where o.id > $3 and o.status in ('open', 'nothing_due', 'due', 'in_flight', 'rejected', 'unknown', 'held')
  and postmeter.deadline_of(t.id, m.buyer, o.hour) <> o.deadline
order by o.id
limit $2
