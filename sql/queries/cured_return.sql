-- cured_return: sends back to the outbox those of these held usages whose reason no longer holds.
-- $1 usages.
select postmeter.return_cured_of($1) + postmeter.return_plausible_of($1) as returned
