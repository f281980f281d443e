-- maintain_carry: meters with something to bill and no hour to bill it in, in order of their numbers; can_go: there is an
-- hour for it now. What is old or without a buyer has none, and is seen without a search: there may be thousands.
-- $1 at most so many, $2 of shadows or of live destinations, $3 only meters after this one. Relies on meter_billable.
with stranded as materialized (
    select m.id, m.buyer, m.month, m.destination_id, t.late_policy, t.zone, t.age_limit
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id
    where m.billable > 0 and m.id > $3 and (t.shadow_of is not null) = $2
      and not exists (select from postmeter.delivery o join postmeter.open_hour h on h.delivery_id = o.id where o.meter_id = m.id)
      and not exists (select from postmeter.part p join postmeter.open_hour h on h.delivery_id = p.delivery_id where p.meter_id = m.id)
      and not exists (select from postmeter.closed_month c where c.destination_id = m.destination_id and c.month = m.month)
    order by m.id
    limit $1
)
select s.id, s.destination_id, d.identity, d.product,
       case when s.late_policy = 'part' and exists (select from postmeter.part_keys(s.id)) then true
            when not exists (select from postmeter.contract_subscriptions(s.destination_id, s.buyer, s.month) o
                             join postmeter.subscription b on b.id = o.subscription_id
                             where b.valid_from <= c.now and (b.valid_until is null or b.valid_until > c.now - s.age_limit)) then false
            when s.month < postmeter.month_of(c.now - s.age_limit, s.zone) then false
            else postmeter.target_hour(s.id) is not null end as can_go
from stranded s
cross join (select postmeter.clock() as now) c
cross join lateral (
    select d.identity, d.product
    from postmeter.hours_of_meter(s.id) o
    join postmeter.delivery d on d.id = o.delivery_id
    order by o.hour desc limit 1
) d
order by s.id
