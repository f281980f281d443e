-- measure_in_flight: attempts without an outcome, per live destination. Relies on attempt_by_worker and outcome_pkey, and
-- on worker.oldest_attempt: none of a worker's attempts before that one is open.
with open as (
    select a.destination_id, count(*) as count, pg_catalog.min(a.claimed_at) as since
    from postmeter.worker w
    cross join lateral (
        select f.destination_id, f.claimed_at
        from postmeter.attempt f
        where f.worker_id = w.id and f.id >= coalesce(w.oldest_attempt, postmeter.id_at(w.started_at))
          and not exists (select from postmeter.outcome o where o.attempt_id = f.id)
        order by f.id limit 10000
    ) a
    where w.reaped_at is null or w.reaped_at > clock_timestamp() - interval '1 day'
    group by 1
)
select pg_catalog.jsonb_build_object('destination', t.name, 'status', 'in_flight', 'count', coalesce(o.count, 0),
    'oldest_seconds', extract(epoch from postmeter.clock() - o.since))
from postmeter.destination t
left join open o on o.destination_id = t.id
where t.shadow_of is null
