-- maintain_month_end: meters with a remainder whose last hour has begun, the month's or that of a contract's last
-- subscription that ends in it; that hour is cut even without usage.
-- $1 at most so many, $2 of shadows or of live destinations, $3 only meters after this one. Relies on meter_month, subscription_by_buyer.
select m.id, m.destination_id, h.hour, d.identity, d.product
from (
    select t.id as destination_id, null as contract, c.month,
           ((c.month + interval '1 month')::timestamp at time zone t.zone) - interval '1 hour' as hour
    from postmeter.destination t
    cross join lateral (select postmeter.month_of(postmeter.clock() - interval '6 hours', t.zone) as month) c
    union all
    select t.id, c.contract, c.month, s.valid_until - interval '1 hour'
    from postmeter.destination t
    join postmeter.subscription s on s.destination_id = t.id
    cross join lateral (select postmeter.month_of(s.valid_until - interval '1 hour', t.zone) as month) x
    left join postmeter.contract_member k on k.subscription_id = s.id and k.month = x.month
    cross join lateral (select coalesce(k.contract, s.buyer) as contract, x.month) c
    where s.buyer is not null and s.valid_until > postmeter.clock() - t.age_limit
      and not exists (
        select from postmeter.contract_subscriptions(t.id, c.contract, c.month) o
        join postmeter.subscription r on r.id = o.subscription_id
        where r.valid_until is null or r.valid_until > s.valid_until
      )
) h
join postmeter.meter m on m.destination_id = h.destination_id and m.month = h.month and (h.contract is null or m.buyer = h.contract)
cross join lateral (
    select d.identity, d.product
    from postmeter.hours_of_meter(m.id) o
    join postmeter.delivery d on d.id = o.delivery_id
    order by o.hour desc limit 1
) d
where h.hour <= postmeter.clock() and m.id > $3
  and m.month_end = 'round_up' and m.carried > 0
  and not exists (select from postmeter.hours_of_meter(m.id) l where l.hour = h.hour)
  -- under the key that is valid then
  and postmeter.deadline_of(m.destination_id, coalesce(
        (select s.buyer from postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) o
         join postmeter.subscription s on s.id = o.subscription_id
         where s.valid_from <= h.hour and (s.valid_until is null or h.hour < s.valid_until)
         order by s.buyer <> m.buyer, s.valid_from desc, s.id limit 1), m.buyer), h.hour) >= postmeter.clock()
  and not exists (select from postmeter.closed_month c where c.destination_id = m.destination_id and c.month = m.month)
  and (m.destination_id in (select x.id from postmeter.destination x where x.shadow_of is not null)) = $2
order by m.id
limit $1
