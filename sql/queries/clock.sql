-- clock: the time of decisions.
select postmeter.clock()
