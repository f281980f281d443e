-- alert_implausible_usage: usage that is held as implausible, by destination; hours in which a buyer used more than hour_alert.
-- Reads all of held, and of metrics with hour_alert what the last day's remittances count (delivery_meter_id_hour_key).
select coalesce(t.name, '') as subject, count(*) as count,
       pg_catalog.format('%s of %s %s beyond what is plausible and held, since %s UTC', postmeter.counted(count(*), 'usage'),
              postmeter.counted(pg_catalog.count(distinct h.org), 'org'), case when count(*) = 1 then 'is' else 'are' end,
              pg_catalog.to_char(pg_catalog.min(h.held_at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')) as summary,
       pg_catalog.jsonb_build_object('first_deadline', pg_catalog.min(h.deadline), 'examples', pg_catalog.to_jsonb((pg_catalog.array_agg(
           'usage ' || h.usage_id::text || ': ' || pg_catalog.trim_scale(h.quantity)::text || ' ' || h.metric || ' of ' || h.org
           order by h.quantity desc, h.usage_id))[1:5])) as details
from postmeter.held h
left join postmeter.destination t on t.id = h.destination_id
where h.reason = 'implausible' and h.corrected_id is null
group by t.name
union all
select t.name || ' hours', count(*),
       pg_catalog.format('%s of the last day %s more than hour_alert', postmeter.counted(count(*), 'remittance'),
                         case when count(*) = 1 then 'counts' else 'count' end),
       pg_catalog.jsonb_build_object('examples', pg_catalog.to_jsonb((pg_catalog.array_agg(
           'remittance ' || d.id::text || ': ' || pg_catalog.trim_scale(q.used)::text || ' ' || mm.metric || ', more than ' || x.hour_alert::text
           order by q.used desc, d.id))[1:5]))
from (select postmeter.clock() as now) c
cross join postmeter.dimension x
join postmeter.destination t on t.id = x.destination_id and t.shadow_of is null
join postmeter.meter m on m.destination_id = x.destination_id and m.dimension = x.name and m.month >= x.valid_from
 and m.month >= postmeter.month_of(c.now - interval '1 day', t.zone)
join postmeter.meter_metric mm on mm.meter_id = m.id and mm.product = x.product and mm.metric = x.metric
join postmeter.delivery d on d.meter_id = m.id and d.hour > c.now - interval '1 day'
cross join lateral (
    select case when d.status = 'open'
                then (select sum(a.quantity) from postmeter.allocation a where a.delivery_id = d.id and a.meter_metric_id = mm.id and a.round = d.round)
                else (select sum((e.value ->> 'used_here')::numeric)
                      from postmeter.cut k, pg_catalog.jsonb_array_elements(k.metrics) e
                      where k.delivery_id = d.id and k.meter_id = m.id and k.round >= 0
                        and e.value ->> 'product' = mm.product and e.value ->> 'metric' = mm.metric) end as used
) q
where q.used > x.hour_alert
  and not exists (select from postmeter.dimension y
                  where y.destination_id = x.destination_id and y.product = x.product and y.metric = x.metric
                    and y.valid_from > x.valid_from and y.valid_from <= m.month)
group by t.name
