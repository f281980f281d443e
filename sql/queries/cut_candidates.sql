-- cut_candidates: open hours that may be cut now, at most one per meter, the oldest of each; the earliest deadline first,
-- and those of one deadline in any order, so that workers share them out. Behind them a few that did not go through
-- before, each at its time.
-- $1 at most so many, $2 destinations that this worker can serve, $3 hours that did not go through before, the one that was
-- tried longest ago first, $4 those of them whose time has not come. Relies on open_hour_by_hour; one look at the outbox for
-- all of them.
with clock as materialized (
    select postmeter.clock() as now
), ready as materialized (
    select d.id, d.destination_id, d.meter_id, d.hour, d.deadline, d.deadline - t.lead <= c.now as urgent, s.tried
    from clock c
    cross join postmeter.open_hour o
    join postmeter.delivery d on d.id = o.delivery_id
    join postmeter.destination t on t.id = d.destination_id
    left join unnest($3) with ordinality s(id, tried) on s.id = o.delivery_id
    where o.hour <= c.now - interval '1 hour' and o.destination_id = any ($2)
      and ((d.hour + interval '1 hour' + t.grace <= c.now and d.opened_at + t.grace <= c.now)
           or d.deadline - t.lead <= c.now)
      and o.delivery_id not in (select n.id from unnest($4) n(id))
), waiting as materialized (
    -- what a fold has locked is still visible here, so it counts
    select distinct s.destination_id, s.buyer, w.used_at as hour
    from (select distinct o.org, o.product,
                 -- a correction is awaited by the hour of what it corrects
                 postmeter.hour_of(case when o.corrects is null then o.used_at else coalesce(
                     (select u.used_at from postmeter.usage u
                      where u.id = (select i.usage_id from postmeter.usage_identity i
                                    where i.identity = postmeter.usage_identity_of(o.source, o.corrects))), o.used_at) end) as used_at
          from postmeter.outbox o, clock c
          where o.used_at < postmeter.hour_of(c.now) or o.corrects is not null) w
    join postmeter.subscription s on s.org = w.org and s.product = w.product
    where exists (select from ready)
    union all
    select s.destination_id, s.buyer, g.hour
    from postmeter.shadow_usage g
    join postmeter.subscription s on s.org = g.org and s.product = g.product and s.destination_id = g.destination_id
    where g.destination_id = any ($2) and g.reason is null and exists (select from ready)
    group by 1, 2, 3
), candidate as (
    select distinct on (r.meter_id) r.*, r.urgent and w.buyer is not null as forced
    from ready r
    join postmeter.meter m on m.id = r.meter_id
    left join waiting w on w.destination_id = r.destination_id and w.buyer = m.buyer and w.hour = r.hour
    where r.urgent or w.buyer is null
    order by r.meter_id, r.hour
), placed as (
    select c.*, row_number() over (partition by c.tried is null
                                   order by c.tried is not null and not c.urgent, c.tried, c.deadline, random()) as place
    from candidate c
)
select p.id, p.destination_id, p.urgent, p.forced
from placed p
where p.place <= case when p.tried is null then $1::bigint else ($1::bigint + 3) / 4 end
order by p.tried is not null, p.place
