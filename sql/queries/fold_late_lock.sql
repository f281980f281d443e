-- fold_late_lock: locks the meters of late usage, and where it may go as a part, in order of their numbers.
-- $1 meters.
select postmeter.lock_meters($1)
