-- request_mark: how many statuses of a request there are, and when the last one was recorded: whoever watches it reads
-- them again only when this is another. Relies on the primary key of each partition.
-- $1 the request's id.
select count(*) as said, max(r.recorded_at) as last
from postmeter.request_status r
where r.request_key = postmeter.request_key_of($1)
