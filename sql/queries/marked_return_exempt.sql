-- marked_return_exempt: sends exempt usage back to the outbox, with its corrections.
-- $1 usages.
select postmeter.return_exempted($1) as returned
