-- breaker_read: every destination that has a fault as a whole, or recovers from one, and every quota that is slower than it
-- may be, or waits; lengths in milliseconds of real time. One statement: every worker asks it once a poll.
select b.destination_id, b.ramp, b.probing_by,
       (extract(epoch from b.open_until - clock_timestamp()) * 1000::numeric)::double precision as open_ms,
       (extract(epoch from b.probing_until - clock_timestamp()) * 1000::numeric)::double precision as probing_ms,
       (extract(epoch from clock_timestamp() - b.updated_at) * 1000::numeric)::double precision as quiet_ms,
       null::integer as quota_id, null::double precision as rate, null::double precision as wait_ms
from postmeter.breaker b
union all
select null, null, null, null, null, null, p.quota_id, p.rate,
       case when p.wait_until > clock_timestamp() then extract(epoch from p.wait_until - clock_timestamp()) * 1000::numeric else 0 end::double precision
from postmeter.pace p
where p.rate is not null or p.wait_until > clock_timestamp()
