-- report_paces: quotas that are slower than they may be, or wait; seconds of real time.
-- No parameters.
select q.name as quota, p.rate, q.calls_per_second::double precision as calls_per_second,
       case when p.wait_until > clock_timestamp() then extract(epoch from p.wait_until - clock_timestamp())::double precision end as wait_seconds
from postmeter.pace p
join postmeter.quota q on q.id = p.quota_id
where p.rate is not null or p.wait_until > clock_timestamp()
order by q.name
