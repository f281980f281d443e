-- catalogue_destinations: every destination with its policies, intervals in seconds.
select t.id, t.version, t.name, t.kind, t.settings, t.quota_id, q.calls_per_second is not null as is_limited, t.dry_run, t.paused, t.shadow_of is not null as shadow,
       t.records_max, t.bytes_max, t.in_flight_max, t.tries_max,
       extract(epoch from t.call_timeout)::double precision as call_timeout,
       extract(epoch from t.retry_first)::double precision as retry_first,
       extract(epoch from t.retry_max)::double precision as retry_max,
       extract(epoch from t.memory)::double precision as memory
from postmeter.destination t
join postmeter.quota q on q.id = t.quota_id
order by t.id
