-- fold_metrics: makes the metrics of meters that a fold needs, in order: on the meter of the contract.
-- $1 subscriptions, $2 dimensions, $3 hours. Relies on meter_metric_meter_id_product_metric_key.
with given as materialized (
    select s.destination_id, coalesce(k.contract, postmeter.contract_name(s.product, s.contract), s.buyer) as contract, postmeter.month_of(g.hour, t.zone) as month, d.name,
           d.product, d.metric, d.factor_numerator, d.factor_denominator
    from unnest($1, $2, $3) g(subscription_id, dimension_id, hour)
    join postmeter.subscription s on s.id = g.subscription_id
    join postmeter.dimension d on d.id = g.dimension_id
    join postmeter.destination t on t.id = s.destination_id
    left join postmeter.contract_member k on k.subscription_id = s.id and k.month = postmeter.month_of(g.hour, t.zone)
)
insert into postmeter.meter_metric (meter_id, product, metric, factor_numerator, factor_denominator)
select distinct on (1, 2, 3) m.id, g.product, g.metric, g.factor_numerator, g.factor_denominator
from given g
join postmeter.meter m on m.destination_id = g.destination_id and m.buyer = g.contract and m.dimension = g.name
 and m.month = g.month
where not exists (
    select from postmeter.meter_metric mm where mm.meter_id = m.id and mm.product = g.product and mm.metric = g.metric
)
order by 1, 2, 3
on conflict do nothing
