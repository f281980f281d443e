-- report_standing: per destination and status: remittances and units by dimension, amounts by currency (no dimension).
-- No parameters. What is final (accepted, dry_run, written_off) is of the running month only; later: due, but not
-- before its next try. Scans postmeter.delivery once for what is not final; the rest relies on meter_month and
-- delivery_meter_id_hour_key.
with counted as materialized (
    select d.meter_id, d.product, case when l.delivery_id is not null then 'later' else d.status end as status,
           count(*) as remittances, pg_catalog.sum(d.quantity) as quantity, pg_catalog.min(d.deadline) as earliest_deadline
    from postmeter.delivery d
    left join postmeter.later l on l.delivery_id = d.id and d.status = 'due'
    where d.status in ('open', 'due', 'in_flight', 'rejected', 'expired', 'conflict', 'unknown', 'held')
    group by 1, 2, 3
    union all
    select d.meter_id, d.product, d.status, count(*), pg_catalog.sum(d.quantity), null
    from postmeter.destination t
    join postmeter.meter m on m.destination_id = t.id
     and m.month = postmeter.month_of((select postmeter.clock()), t.zone)
    join postmeter.delivery d on d.meter_id = m.id
    where d.status in ('accepted', 'dry_run', 'written_off')
    group by 1, 2, 3
)
select t.name as destination, c.status, m.dimension, p.currency, pg_catalog.sum(c.remittances)::bigint as remittances,
       -- units of different dimensions are not added up
       case when m.dimension is not null then pg_catalog.trim_scale(pg_catalog.sum(c.quantity))::text end as quantity,
       pg_catalog.trim_scale(pg_catalog.sum(c.quantity * p.unit_price))::text as amount,
       pg_catalog.min(c.earliest_deadline) as earliest_deadline
from counted c
join postmeter.meter m on m.id = c.meter_id
join postmeter.destination t on t.id = m.destination_id
-- the price of view postmeter.remittance, looked up per meter instead of per remittance
left join lateral (
    select x.unit_price, x.currency from postmeter.dimension x
    where x.destination_id = m.destination_id and x.name = m.dimension and x.product = c.product
      and x.valid_from <= m.month
    order by x.valid_from desc, x.id limit 1
) p on true
group by grouping sets ((t.name, c.status, m.dimension, p.currency), (t.name, c.status, p.currency))
order by t.name, c.status, m.dimension, p.currency
