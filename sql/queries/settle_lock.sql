-- settle_lock: locks the deliveries of a settlement in order of their numbers and reads where each stands.
-- $1 deliveries. What a failover or a restore may have taken away counts as an attempt that may have arrived.
select d.id, d.attempt_id,
       d.maybe_billed or coalesce(d.hour + interval '1 hour' <= b.noticed_at, false) as maybe_billed,
       coalesce(d.maybe_since, case when d.hour + interval '1 hour' <= b.noticed_at then d.hour + interval '1 hour' end) as maybe_since,
       d.tries, d.deaths, d.deadline, d.destination_id,
       (select postmeter.clock()) as now
from postmeter.delivery d
cross join (select max(x.noticed_at) as noticed_at from postmeter.timeline_break x) b
where d.id = any ($1)
order by d.id
for update of d
