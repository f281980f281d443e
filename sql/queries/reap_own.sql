-- reap_own: attempts of a living worker that have no outcome and are older than any call or claim of it can be; and the
-- id before which all were looked at. $1 worker, $2 where to begin. Relies on attempt_by_worker and outcome_pkey.
with bound as materialized (
    select postmeter.id_at(clock_timestamp() - w.lease - coalesce((select max(t.call_timeout) from postmeter.destination t), '0')) as id
    from postmeter.worker w where w.id = $1
)
select b.id as bound, x.id, x.delivery_id
from bound b
left join lateral (
    select a.id, a.delivery_id
    from postmeter.attempt a
    where a.worker_id = $1 and a.id >= $2 and a.id < b.id
      and not exists (select from postmeter.outcome o where o.attempt_id = a.id)
    order by a.id
    limit 1000
) x on true
order by x.id
