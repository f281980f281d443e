-- marked_behind: usage that open remittances of these marks' buyers count and that the catalogue places elsewhere by now.
-- $1 marks, $2 usages that did not go through before: they come last, $3 at most so many. Relies on allocation_by_delivery.
select u.usage_id, u.delivery_id, u.destination_id, u.org
from postmeter.marked_usage($1, null, false) u
order by u.usage_id::text = any ($2), u.delivery_id, u.usage_id
limit $3
