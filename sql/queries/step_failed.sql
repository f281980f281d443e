-- step_failed: a step failed as a whole.
-- $1 step, $2 worker, $3 SQLSTATE or null, $4 the message.
insert into postmeter.step_failure as f (step, worker_id, code, message)
values ($1, $2, $3, left($4, 500))
on conflict (step, worker_id) do update
set times = f.times + 1, last_at = clock_timestamp(), code = excluded.code, message = excluded.message
