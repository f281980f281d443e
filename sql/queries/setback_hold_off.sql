-- setback_hold_off: keeps new folds off a member that is about to be locked alone.
-- $1 step, $2 member, $3 for so many milliseconds.
update postmeter.setback s set held_off_until = clock_timestamp() + $3 * interval '1 millisecond'
where s.step = $1 and s.member = $2
