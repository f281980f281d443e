-- timeline_break: says that commits were lost, and stops all sending. False: it is known already.
-- $1 who, $2 why.
select postmeter.timeline_went_back($1, $2)
