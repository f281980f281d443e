-- maintain_month_end: meters with a remainder that end with the running hour or have ended, with their month or with the last
-- subscription of their buyer in it, as long as an hour of theirs is taken: their last hour is cut even without usage, or,
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
    select m.id, m.destination_id, m.buyer, p.begins, p.ends
    from clock c
    join month p on p.ends - interval '1 hour' <= c.now
                and postmeter.deadline_of(p.destination_id, null, p.ends - interval '1 hour') >= c.now
    join postmeter.meter m on m.destination_id = p.destination_id and m.month = p.month
    where m.id > $3 and m.month_end = 'round_up' and m.carried > 0
    union
    select m.id, m.destination_id, m.buyer, p.begins, p.ends
    from clock c
    join postmeter.subscription s on s.valid_until > c.now - (select max(x.age_limit) from month x) and s.valid_until < c.now + interval '1 hour'
    join month p on p.destination_id = s.destination_id and s.valid_until > c.now - p.age_limit and s.valid_until < p.ends
    join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = s.buyer and m.month = p.month
    where m.id > $3 and m.month_end = 'round_up' and m.carried > 0
), last as materialized (
    select e.id, e.destination_id, e.buyer, h.hour
    from clock c
    cross join ended e
    cross join lateral (select postmeter.meter_ends(e.destination_id, e.buyer, e.ends) as at) n
    cross join lateral (select postmeter.hour_of(n.at - interval '1 microsecond') as hour) h
    where n.at > e.begins and h.hour <= c.now and postmeter.deadline_of(e.destination_id, e.buyer, h.hour) >= c.now
      -- what it counts in an hour that is open may be all there is to settle
      and not exists (select from postmeter.delivery d join postmeter.open_hour o on o.delivery_id = d.id where d.meter_id = e.id)
)
select l.id, l.destination_id, h.hour, d.identity, d.product
from clock c
cross join last l
cross join lateral (
    select case when exists (select from postmeter.delivery x
                             where x.meter_id = l.id and x.hour = l.hour and x.status <> 'nothing_due')
                then postmeter.target_hour(l.id) else l.hour end as hour
) h
cross join lateral (
    select x.identity, x.product from postmeter.delivery x where x.meter_id = l.id order by x.hour desc limit 1
) d
where postmeter.deadline_of(l.destination_id, l.buyer, h.hour) >= c.now
order by l.id
limit $1
