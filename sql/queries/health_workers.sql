-- health_workers: workers that are alive, lost, or were taken over within the last hour. One row a start: a small table.
select pg_catalog.jsonb_build_object('name', w.name, 'version', w.version,
    'state', case when w.reaped_at is not null then 'taken_over' when w.lease_until > clock_timestamp() then 'alive' else 'lost' end,
    'silent_seconds', extract(epoch from clock_timestamp() - w.heartbeat_at))
from postmeter.worker w
where w.stopped_at is null and (w.reaped_at is null or w.reaped_at > clock_timestamp() - interval '1 hour')
order by w.started_at desc
limit 1000
