-- measure_funnel: where the current month's usage is, per product and metric, as far as small tables tell.
-- What was cut, from the totals of the month's meters: each cut writes them anyway. What became of it, from the queues,
-- from what is stuck and from what people decided; the rest was accepted (or tried dry), or there was nothing to bill for it.
with month as materialized (
    select t.id as destination_id, t.dry_run, postmeter.month_of(postmeter.clock(), t.zone) as month
    from postmeter.destination t where t.shadow_of is null
), somewhere as (
    select q.delivery_id, 'due' as stage from postmeter.due q
    union all
    select l.delivery_id, 'due' from postmeter.later l
    union all
    select s.delivery_id, s.status from postmeter.stuck s
    union all
    select f.delivery_id, 'due'
    from postmeter.worker w
    cross join lateral (
        select a.delivery_id from postmeter.attempt a
        where a.worker_id = w.id and a.id >= coalesce(w.oldest_attempt, postmeter.id_at(w.started_at))
          and not exists (select from postmeter.outcome o where o.attempt_id = a.id)
        order by a.id limit 10000
    ) f
    where w.reaped_at is null or w.reaped_at > clock_timestamp() - interval '1 day'
    union all
    select distinct d.id, d.status
    from postmeter.decision c join postmeter.delivery d on d.id = c.delivery_id
    where c.verb in ('release', 'write_off') and d.status in ('released', 'written_off')
), cut as (
    select mm.product, mm.metric, x.dry_run, pg_catalog.sum(mm.usages) as usages, pg_catalog.sum(mm.used) as quantity
    from month x
    join postmeter.meter m on m.destination_id = x.destination_id and m.month = x.month
    join postmeter.meter_metric mm on mm.meter_id = m.id
    group by 1, 2, 3
), apart as (
    select s.stage, u.product, u.metric, x.dry_run, pg_catalog.sum(coalesce(u.usages_here, 0)) as usages, pg_catalog.sum(u.used_here) as quantity
    from somewhere s
    join postmeter.cut c on c.delivery_id = s.delivery_id
    join postmeter.meter m on m.id = c.meter_id
    join month x on x.destination_id = m.destination_id and x.month = m.month
    cross join lateral pg_catalog.jsonb_to_recordset(c.metrics) u(product text, metric text, used_here numeric, usages_here numeric)
    group by 1, 2, 3, 4
), staged as (
    select c.product, c.metric, 'cut' as stage, c.usages, c.quantity from cut c
    union all
    select a.product, a.metric, a.stage, a.usages, a.quantity from apart a
    union all
    select c.product, c.metric, case when c.dry_run then 'dry_run' else 'accepted' end, c.usages - coalesce(r.usages, 0), c.quantity - coalesce(r.quantity, 0)
    from cut c
    left join (select a.product, a.metric, a.dry_run, pg_catalog.sum(a.usages) as usages, pg_catalog.sum(a.quantity) as quantity from apart a group by 1, 2, 3) r
        on r.product = c.product and r.metric = c.metric and r.dry_run = c.dry_run
    union all
    select h.product, h.metric, 'held_usage', count(*), pg_catalog.sum(h.quantity) from postmeter.held h
    where h.hour >= pg_catalog.date_trunc('month', postmeter.clock(), 'UTC') group by 1, 2
)
select pg_catalog.jsonb_build_object('product', s.product, 'metric', s.metric, 'stage', s.stage, 'usages', pg_catalog.sum(s.usages), 'quantity', pg_catalog.sum(s.quantity))
from staged s
group by s.product, s.metric, s.stage
