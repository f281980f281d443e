-- request_mark: how many statuses of a request there are, and the largest number among them: whoever watches it reads only
-- what is new. Relies on the primary key of each partition.
-- $1 the request's id.
select count(*) as said, coalesce(max(r.number), -1) as last
from postmeter.request_status r
where r.request_key = postmeter.request_key_of($1)
