-- request_said: what services said about a request, in order. Relies on the primary key of each partition.
-- $1 the request's id, $2 at most so many, the latest.
select s.request_id, s.service, s.source, s.status, s.status_msg, s.account, s.org, s.inventory_id, s.system_id,
       s.date, s.recorded_at
from (
    select r.* from postmeter.request_status r
    where r.request_key = postmeter.request_key_of($1)
    order by r.date desc, r.digest desc
    limit $2
) s
order by s.date, s.recorded_at, s.digest
