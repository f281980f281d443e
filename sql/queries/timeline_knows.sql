-- timeline_knows: whether what a process saw committed is still there: its last claim, settlements and heartbeat.
-- $1 an attempt, $2 attempts with their outcomes, $3 a worker that was there with a heartbeat $4; null: none of that kind.
-- Relies on the primary keys of attempt, outcome and worker.
select ($1 is null or exists (select from postmeter.attempt a where a.id = $1))
   and not exists (select from unnest($2) s(attempt_id)
                   where not exists (select from postmeter.outcome o where o.attempt_id = s.attempt_id))
   and ($3 is null or exists (select from postmeter.worker w where w.id = $3 and w.heartbeat_at >= $4))
