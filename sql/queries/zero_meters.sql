-- zero_meters: the meters of silent hours, in order, with the identity under which each hour is opened.
-- $1 subscriptions, $2 dimensions, $3 hours. Relies on meter_destination_id_buyer_dimension_month_key.
select g.item, m.id, s.identity, d.product
from unnest($1, $2, $3) with ordinality g(subscription_id, dimension_id, hour, item)
join postmeter.subscription s on s.id = g.subscription_id
join postmeter.dimension d on d.id = g.dimension_id
join postmeter.destination t on t.id = s.destination_id
join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = s.buyer and m.dimension = d.name
 and m.month = postmeter.month_of(g.hour, t.zone)
order by m.id, g.item
