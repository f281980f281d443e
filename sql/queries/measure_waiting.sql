-- measure_waiting: usage that waits in the outbox, per product and metric. Reads the outbox: bounded by the asker's
-- statement_timeout.
select jsonb_build_object('product', o.product, 'metric', o.metric, 'stage', 'waiting', 'usages', count(*), 'quantity', sum(o.quantity))
from postmeter.outbox o
where o.used_at >= date_trunc('month', postmeter.clock(), 'UTC')
group by o.product, o.metric
