-- month_last_deadline: until when hours of a month can be sent; refuses a destination that does not exist.
-- $1 destination, $2 first day of the month.
select postmeter.month_last_deadline($1, $2)
