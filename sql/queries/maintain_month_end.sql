-- maintain_month_end: meters with a remainder whose last hour has begun, the month's or that of a subscription that ends in
-- it; that hour is cut even without usage.
-- $1 at most so many, $2 of shadows or of live destinations, $3 only meters after this one. Relies on meter_month, subscription_by_buyer.
select m.id, m.destination_id, h.hour, d.identity, d.product
from (
    select t.id as destination_id, null as buyer, c.month,
           ((c.month + interval '1 month')::timestamp at time zone t.zone) - interval '1 hour' as hour
    from postmeter.destination t
    cross join lateral (select postmeter.month_of(postmeter.clock() - interval '6 hours', t.zone) as month) c
    union all
    select t.id, s.buyer, postmeter.month_of(s.valid_until - interval '1 hour', t.zone), s.valid_until - interval '1 hour'
    from postmeter.destination t
    join postmeter.subscription s on s.destination_id = t.id
    where s.buyer is not null and s.valid_until > postmeter.clock() - t.age_limit
      and not exists (
        select from postmeter.subscription r
        where r.destination_id = t.id and r.buyer = s.buyer and (r.valid_until is null or r.valid_until > s.valid_until)
      )
) h
join postmeter.meter m on m.destination_id = h.destination_id and m.month = h.month and (h.buyer is null or m.buyer = h.buyer)
cross join lateral (
    select d.identity, d.product from postmeter.delivery d where d.meter_id = m.id order by d.hour desc limit 1
) d
where h.hour <= postmeter.clock() and m.id > $3
  and m.month_end = 'round_up' and m.carried > 0
  and not exists (select from postmeter.delivery l where l.meter_id = m.id and l.hour = h.hour)
  and postmeter.deadline_of(m.destination_id, m.buyer, h.hour) >= postmeter.clock()
  and not exists (select from postmeter.closed_month c where c.destination_id = m.destination_id and c.month = m.month)
  and (m.destination_id in (select x.id from postmeter.destination x where x.shadow_of is not null)) = $2
order by m.id
limit $1
