-- maintain_month_end: meters with a remainder whose month's last hour has begun; that hour is cut even without usage.
-- $1 at most so many. Relies on meter_month.
select m.id, h.hour, d.identity, d.product
from postmeter.destination t
cross join lateral (select postmeter.month_of(postmeter.clock() - interval '6 hours', t.zone) as month) c
cross join lateral (
    select ((c.month + interval '1 month')::timestamp at time zone t.zone) - interval '1 hour' as hour
) h
join postmeter.meter m on m.destination_id = t.id and m.month = c.month
cross join lateral (
    select d.identity, d.product from postmeter.delivery d where d.meter_id = m.id order by d.hour desc limit 1
) d
where h.hour <= postmeter.clock()
  and m.month_end = 'round_up' and m.carried > 0
  and not exists (select from postmeter.delivery l where l.meter_id = m.id and l.hour = h.hour)
  and postmeter.deadline_of(t.id, m.buyer, h.hour) >= postmeter.clock()
order by m.id
limit $1
