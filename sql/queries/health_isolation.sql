-- health_isolation: what does not go through while the rest goes on: members that are set aside, failing or locked, by step,
-- and steps that fail as a whole. Both are read from side tables: who locks those takes nothing else from a reader.
select pg_catalog.jsonb_build_object('kind', s.state, 'name', s.step, 'count', count(*),
    'seconds', extract(epoch from clock_timestamp() - pg_catalog.min(s.since)),
    'example', (pg_catalog.array_agg(s.member || pg_catalog.concat(' of ' || s.org) order by s.since, s.member))[1],
    'why', (pg_catalog.array_agg(s.why order by s.last_at desc))[1])
from postmeter.setback_list s
where s.state <> 'locked' or s.last_at > clock_timestamp() - interval '10 minutes'
group by s.step, s.state
union all
select pg_catalog.jsonb_build_object('kind', 'step', 'name', f.step, 'count', pg_catalog.max(f.times),
    'seconds', extract(epoch from clock_timestamp() - pg_catalog.min(f.since)),
    'example', 'worker ' || pg_catalog.min(w.name),
    'why', (pg_catalog.array_agg(f.message order by f.last_at desc))[1])
from postmeter.step_failure f
join postmeter.worker w on w.id = f.worker_id and w.reaped_at is null and w.stopped_at is null
group by f.step
