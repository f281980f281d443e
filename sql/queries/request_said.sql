-- request_said: what services said about a request, in the order of its verdict. Relies on the primary key of each
-- partition.
-- $1 the request's id, $2 at most so many, the latest, $3 with a larger number than this, or -1.
select s.request_id, s.service, s.source, s.status, s.status_msg, s.account, s.org, s.inventory_id, s.system_id,
       s.date, s.recorded_at,
       case when s.date > s.recorded_at + o.tracker_lead_max then s.recorded_at else s.date end as at
from (
    select r.* from postmeter.request_status r
    where r.request_key = postmeter.request_key_of($1) and r.number > $3
    order by r.date desc, r.number desc, r.digest desc
    limit $2
) s
cross join postmeter.setting o
order by at, s.number, s.digest
