-- balance_ask_meters: the next meters whose turn it is are read again whole; how many.
-- $1 at most so many.
select postmeter.ask_meters_anew($1)
