-- measure_waiting: usage that waits in the outbox, per product and metric. Reads the outbox: bounded by the asker's
-- statement_timeout.
select pg_catalog.jsonb_build_object('product', o.product, 'metric', o.metric, 'stage', 'waiting', 'usages', count(*), 'quantity', pg_catalog.sum(o.quantity))
from postmeter.outbox o
where o.used_at >= pg_catalog.date_trunc('month', postmeter.clock(), 'UTC')
group by o.product, o.metric
