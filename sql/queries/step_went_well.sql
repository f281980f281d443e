-- step_went_well: a step that failed goes well again.
-- $1 step, $2 worker.
delete from postmeter.step_failure f where f.step = $1 and f.worker_id = $2
