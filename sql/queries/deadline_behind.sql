-- deadline_behind: remittances of these buyers that are not sent yet and whose deadline is not that of their subscriptions.
-- $1 marks, $2 remittances that did not go through before: they come last, $3 at most so many. Relies on the keys of meter and
-- delivery.
select b.delivery_id, b.destination_id
from postmeter.deadlines_behind($1) b
order by b.delivery_id = any ($2), b.delivery_id
limit $3
