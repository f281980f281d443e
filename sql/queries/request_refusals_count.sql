-- request_refusals_count: counts request statuses that a door of ours refused.
-- $1 the door, $2 fields, $3 reasons, $4 how many of each, $5 what was said to one of them.
select postmeter.count_refusals($1, $2, $3, $4, $5)
