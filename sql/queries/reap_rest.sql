-- reap_rest: workers that were reaped, of which an attempt still has no outcome (their reaper died in between).
-- $1 at most so many, $2 only workers after this one. Relies on attempt_by_worker and outcome_pkey.
select w.id, w.stopped_at is null as died
from postmeter.worker w
where w.id > $2 and w.reaped_at is not null and w.reaped_at < clock_timestamp() - w.lease
  and exists (
    select from postmeter.attempt a
    where a.worker_id = w.id and a.id >= coalesce(w.oldest_attempt, postmeter.id_at(w.started_at - interval '1 hour'))
      and not exists (select from postmeter.outcome o where o.attempt_id = a.id)
)
order by w.id
limit $1
