-- settle_lock_free: locks the deliveries of a settlement that no other session keeps, and reads where each stands.
-- $1 deliveries.
select d.id, d.attempt_id, d.maybe_billed, d.maybe_since, d.tries, d.deaths, d.deadline, d.destination_id, d.shadow,
       -- asked once, not for each
       d.destination_id = any ((select pg_catalog.array_agg(r.destination_id) from postmeter.refusal r)::integer[]) as has_refusals,
       (select postmeter.clock()) as now
from postmeter.delivery d
where d.id = any ($1)
order by d.id
for update skip locked
