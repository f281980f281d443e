-- timeline_knows: whether an attempt that was committed is still there.
-- $1 attempt. Relies on the primary key of attempt.
select exists (select from postmeter.attempt a where a.id = $1)
