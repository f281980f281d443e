-- report_verdict: the whole of a database in one row, for the end of the demo; shadows are not part of it, but their balance is.
with shadow as materialized (
    select t.id from postmeter.destination t where t.shadow_of is not null
)
select (select count(*) from postmeter.usage) as usages,
       (select count(*) from postmeter.outbox) as waiting,
       (select count(*) from postmeter.held) as held,
       (select count(*) from postmeter.open_hour o where o.destination_id not in (select t.id from shadow t)) as open,
       (select count(*) from postmeter.due q where q.destination_id not in (select t.id from shadow t)) + (select count(*) from postmeter.later q where q.destination_id not in (select t.id from shadow t)) as unsent,
       (select count(*) from postmeter.delivery d where not d.shadow and d.status = 'in_flight') as in_flight,
       (select count(*) from postmeter.delivery d where not d.shadow and d.status = 'accepted') as accepted,
       (select count(*) from postmeter.delivery d where not d.shadow and d.status = 'nothing_due') as nothing_due,
       (select count(*) from postmeter.delivery d
        where not d.shadow and d.status not in ('accepted', 'nothing_due', 'open', 'due', 'in_flight')) as stuck,
       (select count(*) from postmeter.attempt a where a.destination_id not in (select t.id from shadow t)) as attempts,
       (select pg_catalog.count(distinct a.call_id) from postmeter.attempt a where a.destination_id not in (select t.id from shadow t)) as calls,
       (select count(*) from postmeter.attempt a where a.number > 1 and a.destination_id not in (select t.id from shadow t)) as retries,
       (select pg_catalog.count(distinct a.delivery_id) from postmeter.attempt a join postmeter.outcome o on o.attempt_id = a.id
        join postmeter.delivery d on d.id = a.delivery_id
        where o.outcome in ('unknown', 'unavailable', 'unrecognised') and not d.maybe_billed) as unknown_resolved,
       (select count(*) from postmeter.delivery d where d.maybe_billed) as unknown_open,
       (select count(*) from postmeter.worker w where w.reaped_at is not null and w.stopped_at is null) as workers_lost,
       (select coalesce(pg_catalog.sum(pg_catalog.abs(b.difference)), 0)::text from postmeter.balance b) as meters_difference,
       (select coalesce(pg_catalog.sum(pg_catalog.abs(b.difference)), 0)::text from postmeter.usage_balance b) as usage_difference
