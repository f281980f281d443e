-- balance_round_took: notes how long reading again took.
-- $1 seconds.
select postmeter.read_again_took($1)
