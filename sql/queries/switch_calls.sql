-- switch_calls: how many calls of destinations may be on the wire: those of which a worker said so and which have no outcome
-- yet, and all that are open in the hands of one that has not acknowledged. Relies on attempt_by_worker and outcome_pkey, and
-- on worker.oldest_attempt: none of a worker's attempts before that one is open.
-- $1 the destination's name (null: all of them).
select coalesce(sum(case when c.acknowledged then least(c.said, c.open) else c.open end), 0)::bigint as calls
from (
    select coalesce((w.acknowledged -> t.id::text ->> 'version')::bigint >= t.version, false) as acknowledged,
           coalesce((w.acknowledged -> t.id::text ->> 'calls')::bigint, 0) as said, count(distinct a.call_id) as open
    from postmeter.worker w
    cross join postmeter.destination t
    cross join lateral (
        select f.call_id
        from postmeter.attempt f
        where f.worker_id = w.id and f.destination_id = t.id and f.id >= coalesce(w.oldest_attempt, postmeter.id_at(w.started_at))
          and not exists (select from postmeter.outcome o where o.attempt_id = f.id)
        order by f.id limit 100000
    ) a
    where w.stopped_at is null and w.reaped_at is null and ($1::text is null or t.name = $1) and t.shadow_of is null
    group by w.id, t.id
) c
