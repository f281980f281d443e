-- step_failed: a step has failed so many times in a row on this worker.
-- $1 step, $2 worker, $3 times, $4 SQLSTATE or null, $5 the message.
insert into postmeter.step_failure as f (step, worker_id, times, code, message)
values ($1, $2, $3, $4, left($5, 500))
on conflict (step, worker_id) do update
set times = excluded.times, last_at = clock_timestamp(), code = excluded.code, message = excluded.message
