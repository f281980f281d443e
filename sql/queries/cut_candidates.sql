-- cut_candidates: open hours that may be cut now, at most one per meter, the oldest of each; the earliest deadline first,
-- and those of one deadline in any order, so that workers share them out. Behind them a few that did not go through
-- before, each at its time. An hour in which its buyer's subscriptions end is over then.
-- $1 at most so many, $2 destinations that this worker can serve, $3 hours that did not go through before, the one that was
-- tried longest ago first, $4 those of them whose time has not come. Relies on open_hour_by_hour and subscription_by_end; one
-- look at the outbox for all of them.
with clock as materialized (
    select postmeter.clock() as now
), known as materialized (
    -- of what commits were lost, or of what nobody knows whether it is the installation, nothing is counted before somebody has looked
    select (select max(b.noticed_at) from postmeter.timeline_break b) as broken_at,
           (select i.is_copy from postmeter.installation i) or postmeter.installation_doubt() is null as is_clear
), ending as materialized (
    -- nothing is used in these hours any more, and they are taken for no longer than an hour; without a successor
    select b.destination_id, b.buyer, b.hour, u.ends
    from clock c
    cross join lateral (
        select distinct s.destination_id, s.buyer, postmeter.hour_of(s.valid_until) as hour
        from postmeter.subscription s
        where s.valid_until > c.now - interval '2 hours' and s.valid_until <= c.now
          and s.valid_until <> postmeter.hour_of(s.valid_until) and s.destination_id = any ($2) and s.buyer is not null
    ) b
    cross join lateral (select postmeter.served_until(b.destination_id, b.buyer, b.hour) as ends) u
    where u.ends > b.hour and u.ends < b.hour + interval '1 hour' and u.ends <= c.now
), over as materialized (
    select d.id, d.destination_id, d.meter_id, d.hour, d.deadline, d.opened_at, d.hour + interval '1 hour' as ends
    from clock c
    cross join postmeter.open_hour o
    join postmeter.delivery d on d.id = o.delivery_id
    where o.hour <= c.now - interval '1 hour' and o.destination_id = any ($2)
    union all
    select d.id, d.destination_id, d.meter_id, d.hour, postmeter.deadline_of(e.destination_id, e.buyer, e.hour), d.opened_at, e.ends
    from ending e
    join postmeter.meter m on m.destination_id = e.destination_id and m.buyer = e.buyer
    join postmeter.delivery d on d.meter_id = m.id and d.hour = e.hour and d.status = 'open'
), ready as materialized (
    select v.id, v.destination_id, v.meter_id, v.hour, v.deadline, v.deadline - t.lead <= c.now as urgent, s.tried
    from clock c
    cross join over v
    join postmeter.destination t on t.id = v.destination_id
    left join unnest($3) with ordinality s(id, tried) on s.id = v.id
    where ((v.ends + t.grace <= c.now and v.opened_at + t.grace <= c.now)
           or v.deadline - t.lead <= c.now)
      and v.id not in (select n.id from unnest($4) n(id))
      and (select k.is_clear from known k)
      and not (t.paused and v.ends <= coalesce((select k.broken_at from known k), '-infinity'))
), waiting as materialized (
    -- what a fold has locked is still visible here, so it counts
    select distinct s.destination_id, s.buyer, w.used_at as hour
    from (select distinct o.org, o.product,
                 -- a correction is awaited by the hour of what it corrects
                 postmeter.hour_of(case when o.corrects is null then o.used_at else coalesce(
                     (select u.used_at from postmeter.usage u
                      where u.id = (select c.corrected_id from postmeter.usage c where c.id = o.id)), o.used_at) end) as used_at
          from postmeter.outbox o, clock c
          where o.used_at < postmeter.hour_of(c.now) or o.corrects is not null) w
    join postmeter.subscription s on s.org = w.org and s.product = w.product
    where exists (select from ready)
    union all
    select e.destination_id, e.buyer, e.hour
    from ending e
    join postmeter.subscription s on s.destination_id = e.destination_id and s.buyer = e.buyer
    join postmeter.outbox o on o.org = s.org and o.product = s.product and o.used_at >= e.hour and o.used_at < e.ends
    group by 1, 2, 3
    union all
    select s.destination_id, s.buyer, g.hour
    from postmeter.shadow_usage g
    join postmeter.subscription s on s.org = g.org and s.product = g.product and s.destination_id = g.destination_id
    where g.destination_id = any ($2) and g.reason is null and exists (select from ready)
    group by 1, 2, 3
), marked as materialized (
    -- usage may come to them that is counted elsewhere, or nobody has read yet to whom theirs belongs
    select distinct k.destination_id, k.buyer from postmeter.catalogue_mark k where k.is_awaited and k.awaits is null or postmeter.mark_is_unread(k)
), candidate as (
    select distinct on (r.meter_id) r.*, r.urgent and (w.buyer is not null or k.buyer is not null) as forced
    from ready r
    join postmeter.meter m on m.id = r.meter_id
    left join waiting w on w.destination_id = r.destination_id and w.buyer = m.buyer and w.hour = r.hour
    left join marked k on k.destination_id = r.destination_id and k.buyer = m.buyer
    where r.urgent or (w.buyer is null and k.buyer is null)
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
