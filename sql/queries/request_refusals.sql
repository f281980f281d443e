-- request_refusals: the newest refusals of request statuses.
-- $1 how many.
select r.hour, r.door, r.field, r.reason, r.n, r.first_at, r.last_at, r.said
from postmeter.request_refusal_list r
order by r.hour desc, r.door, r.field, r.reason
limit $1
