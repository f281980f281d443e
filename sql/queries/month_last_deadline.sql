-- month_last_deadline: until when hours of a month can still be sent; null: that time is over. Refuses a destination that
-- does not exist.
-- $1 destination, $2 first day of the month.
select case when l.until >= postmeter.clock() then l.until end
from postmeter.month_last_deadline($1, $2) l(until)
