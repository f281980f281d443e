-- timeline_knows: whether what a process saw committed is still there: its last claim, settlement and heartbeat.
-- $1 an attempt, $2 an attempt with its outcome, $3 a worker that was there with a heartbeat $4; null: none of that kind.
-- Relies on the primary keys of attempt, outcome and worker.
select ($1 is null or exists (select from postmeter.attempt a where a.id = $1))
   and ($2 is null or exists (select from postmeter.outcome o where o.attempt_id = $2))
   and ($3 is null or exists (select from postmeter.worker w where w.id = $3 and w.heartbeat_at >= $4))
