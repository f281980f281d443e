-- fold_targets: where each kind of usage in a fold would go, before any lock: the meter of its key, and what counts it, which
-- is on the meter of its contract (counts_on, if that is another one).
-- $1 subscriptions, $2 dimensions, $3 hours. Relies on delivery_meter_id_hour_key.
with given as materialized (
    select g.item, g.hour, s.destination_id, s.buyer, coalesce(k.contract, postmeter.contract_name(s.product, s.contract)) as contract,
           postmeter.month_of(g.hour, t.zone) as month, d.name, d.product, d.metric
    from unnest($1, $2, $3) with ordinality g(subscription_id, dimension_id, hour, item)
    join postmeter.subscription s on s.id = g.subscription_id
    join postmeter.dimension d on d.id = g.dimension_id
    join postmeter.destination t on t.id = s.destination_id
    left join postmeter.contract_member k on k.subscription_id = s.id and k.month = postmeter.month_of(g.hour, t.zone)
), keyed as materialized (
    select g.*, m.id as meter_id,
           case when g.contract is null then m.id
                else (select c.id from postmeter.meter c
                      where c.destination_id = g.destination_id and c.buyer = g.contract and c.dimension = g.name
                        and c.month = g.month) end as counted_by
    from given g
    join postmeter.meter m on m.destination_id = g.destination_id and m.buyer = g.buyer and m.dimension = g.name
     and m.month = g.month
)
select k.item, k.meter_id, mm.id as meter_metric_id, nullif(k.counted_by, k.meter_id) as counts_on, d.id as delivery_id,
       coalesce(d.status = 'open', false) as is_open
from keyed k
join postmeter.meter_metric mm on mm.meter_id = k.counted_by and mm.product = k.product and mm.metric = k.metric
left join postmeter.delivery d on d.meter_id = k.meter_id and d.hour = k.hour
order by k.item
