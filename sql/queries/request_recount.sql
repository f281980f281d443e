-- request_recount: computes outcomes anew that other words or rules than today's computed, some at a time; 0: none is
-- left. Relies on the primary key of request.
-- $1 requests to look at, at most.
select postmeter.recount_requests($1)
