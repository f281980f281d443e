-- balance_check_write: keeps what a check found, or that it took too long, and says when the next is: a check that takes
-- long comes seldom, so that it never takes more than a fiftieth of the time.
-- $1 meters and usages whose balance does not close (null: it was given up), $2 an example, $3 seconds it took.
update postmeter.balance_check b
set checked_at = case when $1 is null then b.checked_at else clock_timestamp() end,
    open = coalesce($1, b.open), example = case when $1 is null then b.example else $2 end, seconds = $3::double precision,
    next_at = clock_timestamp() + greatest(interval '10 minutes', make_interval(secs => 50 * $3::double precision))
