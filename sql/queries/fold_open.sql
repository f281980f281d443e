-- fold_open: opens the hours that a fold needs, where they were never opened and can still be sent.
-- $1 subscriptions, $2 dimensions, $3 hours. Relies on delivery_meter_id_hour_key.
with wanted as (
    select distinct on (m.id, g.hour)
           t.shadow_of is not null as shadow, m.destination_id, m.id as meter_id, g.hour, s.identity, d.product,
           postmeter.remittance_key(m.buyer, m.dimension, g.hour) as key,
           postmeter.deadline_of(m.destination_id, m.buyer, g.hour) as deadline
    from unnest($1, $2, $3) g(subscription_id, dimension_id, hour)
    join postmeter.subscription s on s.id = g.subscription_id
    join postmeter.dimension d on d.id = g.dimension_id
    join postmeter.destination t on t.id = s.destination_id
    join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = s.buyer and m.dimension = d.name
     and m.month = postmeter.month_of(g.hour, t.zone)
    where not exists (select from postmeter.delivery o where o.meter_id = m.id and o.hour = g.hour)
    order by m.id, g.hour, g.subscription_id
), opened as (
    insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, deadline, shadow)
    select w.destination_id, w.key, w.meter_id, w.hour, w.identity, w.product, w.deadline, w.shadow
    from wanted w
    where w.deadline >= (select postmeter.clock())
    order by w.meter_id, w.hour
    on conflict do nothing
    returning id, destination_id, hour
)
insert into postmeter.open_hour (delivery_id, destination_id, hour)
select o.id, o.destination_id, o.hour from opened o
