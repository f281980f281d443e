-- alert_usage_will_miss_deadline: what will miss its deadline at the present rate, or stands still less than an hour before it.
-- Reads view postmeter.forecast_detail (every waiting remittance once), stuck and held.
with now as materialized (
    select postmeter.clock() as now, postmeter.clock() + interval '1 hour' as soon
), missing as (
    select f.destination, f.deadline, 'remittance ' || f.delivery_id::text as item
    from postmeter.forecast_detail f
    join postmeter.destination t on t.name = f.destination
    left join postmeter.breaker b on b.destination_id = t.id and b.ramp is null
    cross join now n
    where (f.misses and f.sent_by is not null) or ((t.paused or b.destination_id is not null) and f.deadline < n.soon)
    union all
    select t.name, d.deadline, 'remittance ' || d.id::text
    from postmeter.stuck s
    join postmeter.delivery d on d.id = s.delivery_id and not d.shadow
    join postmeter.destination t on t.id = s.destination_id
    cross join now n
    where s.status = 'held' and d.deadline >= n.now and d.deadline < n.soon
    union all
    select coalesce(t.name, ''), h.deadline, 'usage ' || h.usage_id::text
    from postmeter.held h
    left join postmeter.destination t on t.id = h.destination_id
    cross join now n
    where h.deadline >= n.now and h.deadline < n.soon
)
select m.destination as subject, count(*) as count,
       pg_catalog.format('%s will miss their deadline%s; the first at %s UTC', postmeter.counted(count(*), 'thing'),
              case when m.destination <> '' then ' at ' || m.destination else '' end,
              pg_catalog.to_char(pg_catalog.min(m.deadline) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')) as summary,
       pg_catalog.jsonb_build_object('examples', pg_catalog.to_jsonb((pg_catalog.array_agg(m.item order by m.deadline, m.item))[1:5]), 'first_deadline', pg_catalog.min(m.deadline)) as details
from missing m
group by m.destination
