-- month_is_closed: whether a person closed a month at a destination.
-- $1 destination, $2 first day of the month.
select exists (
    select from postmeter.closed_month c join postmeter.destination t on t.id = c.destination_id
    where t.name = $1 and c.month = $2
)
