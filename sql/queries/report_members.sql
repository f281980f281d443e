-- report_members: the usage that a remittance counted, summed per org, account, metric and own hour.
-- $1 delivery, $2 at most so many rows. Relies on allocation_by_delivery.
select s.org, s.account, mm.product, mm.metric, a.hour as own_hour, a.round, count(*) as usages,
       trim_scale(sum(a.quantity))::text as quantity
from postmeter.allocation a
join postmeter.subscription s on s.id = a.subscription_id
join postmeter.meter_metric mm on mm.id = a.meter_metric_id
where a.delivery_id = $1
group by s.org, s.account, mm.product, mm.metric, a.hour, a.round
order by a.round, a.hour, s.org, s.account, mm.product, mm.metric
limit $2
