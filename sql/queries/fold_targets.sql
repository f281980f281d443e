-- fold_targets: where each kind of usage in a fold would go, before any lock: the meter of its key, and what counts it, which
-- is on the meter of its contract (counts_on, if that is another one).
-- $1 subscriptions, $2 dimensions, $3 hours. Relies on delivery_meter_id_hour_key.
select g.item, m.id as meter_id, mm.id as meter_metric_id, nullif(mm.meter_id, m.id) as counts_on, d.id as delivery_id,
       coalesce(d.status = 'open', false) as is_open
from unnest($1, $2, $3) with ordinality g(subscription_id, dimension_id, hour, item)
join postmeter.subscription s on s.id = g.subscription_id
join postmeter.dimension dim on dim.id = g.dimension_id
join postmeter.destination t on t.id = s.destination_id
left join postmeter.contract_member k on k.subscription_id = s.id and k.month = postmeter.month_of(g.hour, t.zone)
join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = s.buyer and m.dimension = dim.name
 and m.month = postmeter.month_of(g.hour, t.zone)
join postmeter.meter_metric mm on mm.meter_id = case
     when k.contract is null then m.id
     else (select c.id from postmeter.meter c
           where c.destination_id = s.destination_id and c.buyer = k.contract and c.dimension = dim.name and c.month = m.month) end
 and mm.product = dim.product and mm.metric = dim.metric
left join postmeter.delivery d on d.meter_id = m.id and d.hour = g.hour
order by g.item
