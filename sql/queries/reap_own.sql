-- reap_own: attempts of a living worker that have no outcome and are older than any call or claim of it can be; and the
-- id before which all were looked at. A claim whose commit hangs shows later, with ids of its beginning: what is younger
-- than the oldest transaction of this role is looked at another time.
-- $1 worker, $2 where to begin. Relies on attempt_by_worker and outcome_pkey.
with bound as materialized (
    select postmeter.id_at(least(
               clock_timestamp() - w.lease - coalesce((select max(t.call_timeout) from postmeter.destination t), '0'),
               (select min(s.xact_start) from pg_stat_activity s
                where s.datname = current_database() and s.usename = current_user and s.pid <> pg_backend_pid()))) as id
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
