-- alert_step_failing: steps that failed five times in a row on a worker that is alive.
-- Reads postmeter.step_failure, which has a row for each step that fails now.
select f.step as subject, pg_catalog.max(f.times)::bigint as count,
       pg_catalog.format('step %s failed %s times in a row, last: %s', f.step, pg_catalog.max(f.times),
              (pg_catalog.array_agg(f.message order by f.last_at desc))[1]) as summary,
       pg_catalog.jsonb_build_object('since', pg_catalog.min(f.since), 'code', (pg_catalog.array_agg(f.code order by f.last_at desc))[1],
           'examples', pg_catalog.to_jsonb((pg_catalog.array_agg('worker ' || w.name order by w.name))[1:5])) as details
from postmeter.step_failure f
join postmeter.worker w on w.id = f.worker_id and w.reaped_at is null and w.stopped_at is null
where f.times >= 5
group by f.step
