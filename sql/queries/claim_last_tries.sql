-- claim_last_tries: how many deliveries of a destination are due for their last try, because their deadline is near or over.
-- $1 destination. Relies on due_by_deadline.
select count(*) as last_tries
from (
    select from postmeter.due q
    where q.destination_id = $1 and q.deadline < (select postmeter.clock()) + interval '60 seconds'
    limit 1000
) l
