-- pace_read: quotas that are slower than they may be, or wait; lengths in milliseconds of real time.
select p.quota_id, p.rate,
       case when p.wait_until > clock_timestamp() then extract(epoch from p.wait_until - clock_timestamp()) * 1000 else 0 end::double precision as wait_ms
from postmeter.pace p
where p.rate is not null or p.wait_until > clock_timestamp()
