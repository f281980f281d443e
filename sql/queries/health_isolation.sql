-- health_isolation: what does not go through while the rest goes on: members that are set aside, failing or locked, by step;
-- steps that fail as a whole; hours that must be cut at once, by destination.
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
union all
-- of each destination, so that there is a zero to compare with
select pg_catalog.jsonb_build_object('kind', 'hour', 'name', t.name, 'count', pg_catalog.count(h.delivery_id),
    'seconds', coalesce(extract(epoch from postmeter.clock() - pg_catalog.min(h.should_be_cut_at)), 0),
    'example', coalesce('remittance ' || (pg_catalog.array_agg(h.delivery_id::text order by h.deadline))[1], ''),
    'why', coalesce('the first deadline is ' || pg_catalog.to_char(pg_catalog.min(h.deadline) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
                    || ' UTC', ''))
from postmeter.destination t
left join postmeter.hour_not_cut h on h.destination = t.name
where t.shadow_of is null
group by t.name
