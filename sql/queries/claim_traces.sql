-- claim_traces: under which traces the usages of these deliveries were recorded, one of them null if some were recorded
-- under none. At most eight usages of a delivery are looked at. Only for a worker that tells traces.
-- $1 deliveries. Relies on allocation_by_delivery and on the primary key of usage.
select distinct u.traceparent
from unnest($1) d(id)
cross join lateral (select a.usage_id from postmeter.allocation a where a.delivery_id = d.id limit 8) a
join postmeter.usage u on u.id = a.usage_id
limit 32
