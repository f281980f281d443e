-- clock_to_present: a clock that is behind goes with the server's from now on; one that is ahead runs on.
update postmeter.setting set clock_frozen = null, clock_shift = greatest(clock_shift, '0')
