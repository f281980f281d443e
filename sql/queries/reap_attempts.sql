-- reap_attempts: attempts of a reaped worker that have no outcome.
-- $1 worker, $2 where to begin. Relies on attempt_by_worker and outcome_pkey.
select a.id, a.delivery_id
from postmeter.attempt a
where a.worker_id = $1 and a.id > $2
  and not exists (select from postmeter.outcome o where o.attempt_id = a.id)
order by a.id
limit 1000
