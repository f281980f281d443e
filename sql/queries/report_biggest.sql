-- report_biggest: the largest usages that a remittance counts, each with its share of all usage of its metric there.
-- $1 delivery, $2 at most so many, $3 one that is named whatever its size, or null. Relies on allocation_by_delivery.
select u.source, u.event_id, x.usage_id, u.org, x.metric, trim_scale(x.quantity)::text as quantity, x.share
from (
    select a.usage_id, mm.metric, a.quantity, count(*) over () as usages,
           round(100 * a.quantity / sum(a.quantity) over (partition by a.meter_metric_id), 1)::text as share,
           row_number() over (order by a.quantity * mm.factor_numerator / mm.factor_denominator desc, a.usage_id) as rank
    from postmeter.allocation a
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    where a.delivery_id = $1 and a.quantity > 0
) x
join postmeter.usage u on u.id = x.usage_id
-- the only one is the whole
where x.usages > 1 and (x.rank <= $2 or x.usage_id = $3)
order by x.rank
