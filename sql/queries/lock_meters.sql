-- lock_meters: locks meters, and those that take their parts, in order of their numbers; waits for who holds one.
-- $1 meters.
select postmeter.lock_meters($1)
