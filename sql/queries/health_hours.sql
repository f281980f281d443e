-- health_hours: open hours that should have been cut, by destination; of each one, so that there is a zero to compare with.
select pg_catalog.jsonb_build_object('destination', t.name, 'count', pg_catalog.count(h.delivery_id),
    'seconds', coalesce(extract(epoch from postmeter.clock() - pg_catalog.min(h.should_be_cut_at)), 0),
    'example', coalesce('remittance ' || (pg_catalog.array_agg(h.delivery_id::text order by h.deadline))[1], ''),
    'why', coalesce('the first deadline is ' || pg_catalog.to_char(pg_catalog.min(h.deadline) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
                    || ' UTC', ''))
from postmeter.destination t
left join postmeter.hour_not_cut h on h.destination = t.name
where t.shadow_of is null
group by t.name
