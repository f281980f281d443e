-- measure_open: usage in open hours of the current month, per product and metric. Reads the allocations of those hours:
-- bounded by the asker's statement_timeout. Relies on allocation_by_delivery.
select pg_catalog.jsonb_build_object('product', mm.product, 'metric', mm.metric, 'stage', 'open', 'usages', count(*), 'quantity', pg_catalog.sum(a.quantity))
from postmeter.open_hour o
join postmeter.destination t on t.id = o.destination_id and t.shadow_of is null
join postmeter.delivery d on d.id = o.delivery_id
join postmeter.allocation a on a.delivery_id = d.id and a.round = d.round
join postmeter.meter_metric mm on mm.id = a.meter_metric_id
join postmeter.meter m on m.id = mm.meter_id and m.month = postmeter.month_of(postmeter.clock(), t.zone)
group by mm.product, mm.metric
