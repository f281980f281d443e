-- maintain_month_end: meters with a remainder that end with the running hour or have ended, with their month or with the last
-- subscription of their contract in it, as long as an hour of theirs is taken: their last hour is cut even without usage, or,
-- if that was sent before it was known to be the last, the newest one that was not.
-- $1 at most so many, $2 of shadows or of live destinations, $3 only meters after this one. Relies on meter_month,
-- subscription_by_end and meter's unique index.
with clock as materialized (
    select postmeter.clock() as now
), month as materialized (
    -- every month of which an hour may still be taken
    select t.id as destination_id, t.zone, t.age_limit, g.month::date as month,
           g.month at time zone t.zone as begins, (g.month + interval '1 month') at time zone t.zone as ends
    from clock c
    cross join postmeter.destination t
    cross join lateral generate_series(postmeter.month_of(c.now - t.age_limit, t.zone)::timestamp,
                                       postmeter.month_of(c.now, t.zone)::timestamp, interval '1 month') g(month)
    where (t.shadow_of is not null) = $2
      and not exists (select from postmeter.closed_month x where x.destination_id = t.id and x.month = g.month::date)
), ended as (
    select m.id, m.destination_id, m.buyer, m.dimension, m.month, p.begins, p.ends
    from clock c
    join month p on p.ends - interval '1 hour' <= c.now
                and postmeter.deadline_of(p.destination_id, null, p.ends - interval '1 hour') >= c.now
    join postmeter.meter m on m.destination_id = p.destination_id and m.month = p.month
    where m.id > $3 and m.month_end = 'round_up' and m.carried > 0
    union
    select m.id, m.destination_id, m.buyer, m.dimension, m.month, p.begins, p.ends
    from clock c
    join postmeter.subscription s on s.valid_until > c.now - (select max(x.age_limit) from month x) and s.valid_until < c.now + interval '1 hour'
    join month p on p.destination_id = s.destination_id and s.valid_until > c.now - p.age_limit and s.valid_until < p.ends
    left join postmeter.contract_member k on k.subscription_id = s.id and k.month = p.month
    join postmeter.meter m on m.destination_id = s.destination_id and m.month = p.month
     and m.buyer = coalesce(k.contract, postmeter.contract_name(s.product, s.contract), s.buyer)
    where m.id > $3 and m.month_end = 'round_up' and m.carried > 0
), last as materialized (
    select e.id, e.destination_id, e.buyer, e.dimension, e.month, h.hour, k.buyer as sent_as
    from clock c
    cross join ended e
    cross join lateral (select postmeter.meter_ends(e.destination_id, e.buyer, e.ends) as at) n
    cross join lateral (select postmeter.hour_of(n.at - interval '1 microsecond') as hour) h
    -- under the key that is valid then
    cross join lateral (select coalesce(postmeter.key_of_hour(e.id, h.hour), e.buyer) as buyer) k
    where n.at > e.begins and h.hour <= c.now and postmeter.deadline_of(e.destination_id, k.buyer, h.hour) >= c.now
      -- what it counts in an hour that is open may be all there is to settle
      and not exists (select from postmeter.hours_of_meter(e.id) x join postmeter.open_hour o on o.delivery_id = x.delivery_id)
)
select l.id, l.destination_id, h.hour, d.identity, d.product
from clock c
cross join last l
cross join lateral (
    select case when exists (select from postmeter.meter s join postmeter.delivery x on x.meter_id = s.id
                             where s.destination_id = l.destination_id and s.buyer = l.sent_as and s.dimension = l.dimension
                               and s.month = l.month and x.hour = l.hour and x.status <> 'nothing_due')
                then postmeter.target_hour(l.id) else l.hour end as hour
) h
cross join lateral (
    select x.identity, x.product
    from postmeter.hours_of_meter(l.id) o join postmeter.delivery x on x.id = o.delivery_id
    order by o.hour desc limit 1
) d
where postmeter.deadline_of(l.destination_id, coalesce(postmeter.key_of_hour(l.id, h.hour), l.buyer), h.hour) >= c.now
order by l.id
limit $1
