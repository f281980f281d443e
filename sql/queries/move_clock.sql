-- move_clock: moves the clock of a test or demo database; it runs on from there.
-- $1 the time.
update postmeter.setting set clock_frozen = null, clock_shift = $1 - clock_timestamp()
