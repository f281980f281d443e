-- step_forget: steps of workers that are gone fail no longer.
delete from postmeter.step_failure f
where not exists (select from postmeter.worker w where w.id = f.worker_id and w.reaped_at is null and w.stopped_at is null)
