-- breaker_read: every destination that has a fault as a whole, or recovers from one; lengths in milliseconds of real time.
select b.destination_id, b.ramp, b.probing_by,
       (extract(epoch from b.open_until - clock_timestamp()) * 1000::numeric)::double precision as open_ms,
       (extract(epoch from b.probing_until - clock_timestamp()) * 1000::numeric)::double precision as probing_ms,
       (extract(epoch from clock_timestamp() - b.updated_at) * 1000::numeric)::double precision as quiet_ms
from postmeter.breaker b
