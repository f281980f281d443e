-- maintain_carry: meters with something to bill and no hour to bill it in; their locks come in order.
-- $1 at most so many, $2 of shadows or of live destinations. Relies on meter_billable.
select m.id, d.identity, d.product
from postmeter.meter m
cross join lateral (
    select d.identity, d.product from postmeter.delivery d
    where d.meter_id = m.id order by d.hour desc limit 1
) d
where m.billable > 0
  and not exists (select from postmeter.delivery o join postmeter.open_hour h on h.delivery_id = o.id where o.meter_id = m.id)
  and not exists (select from postmeter.part p join postmeter.open_hour h on h.delivery_id = p.delivery_id where p.meter_id = m.id)
  and not exists (select from postmeter.closed_month c where c.destination_id = m.destination_id and c.month = m.month)
  and (m.destination_id in (select x.id from postmeter.destination x where x.shadow_of is not null)) = $2
order by m.id
limit $1
