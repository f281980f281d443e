-- maintain_zero: silent hours of subscribed keys that are to be reported as zero, from a lead before their deadline on: nothing
-- of them is sent, and no usage of them waits. Not while a destination has much else to send.
-- $1 at most so many, $2 only subscriptions after this one. Relies on dimension_zero, due_by_deadline; one look at the outbox.
with clock as materialized (
    select postmeter.clock() as now
), policy as materialized (
    select x.id, x.destination_id, x.product, x.name, t.zone, t.lead, t.margin, t.closing_window, t.age_limit
    from postmeter.dimension x
    join postmeter.destination t on t.id = x.destination_id and t.shadow_of is null and not t.paused
    where x.zero = 'send'
      and (select count(*) from (select from postmeter.due q where q.destination_id = t.id limit $1) q) < $1
), span as materialized (
    -- whoever is subscribed on has the destination's own deadline
    select p.*, h.hour, postmeter.deadline_of(p.destination_id, null, h.hour) as deadline
    from clock c
    cross join policy p
    cross join lateral generate_series(postmeter.hour_of(c.now - p.age_limit), postmeter.hour_of(c.now), interval '1 hour') h(hour)
    where postmeter.reports_zero(p.destination_id, p.product, p.name, h.hour)
      and not exists (select from postmeter.closed_month x
                      where x.destination_id = p.destination_id and x.month = postmeter.month_of(h.hour, p.zone))
), waiting as materialized (
    select distinct s.destination_id, s.buyer, postmeter.hour_of(o.used_at) as hour
    from postmeter.outbox o
    join postmeter.subscription s on s.org = o.org and s.product = o.product
    where exists (select from span)
)
select s.id, s.destination_id, p.id as dimension_id, p.hour
from clock c
cross join span p
join postmeter.subscription s on s.destination_id = p.destination_id and s.product = p.product
 and s.valid_from <= p.hour and (s.valid_until is null or p.hour < s.valid_until)
where s.id > $2 and s.buyer is not null
  and p.deadline >= c.now
  and (p.deadline - p.lead <= c.now or s.valid_until + p.closing_window - p.margin - p.lead <= c.now)
  and (p.hour + interval '1 hour' <= c.now or s.valid_until <= c.now)
  and c.now between postmeter.deadline_of(s.destination_id, s.buyer, p.hour) - p.lead
                and postmeter.deadline_of(s.destination_id, s.buyer, p.hour)
  and not exists (select from postmeter.exemption e
                  where e.org = s.org and (e.product is null or e.product = s.product)
                    and e.valid_from <= p.hour and (e.valid_until is null or p.hour < e.valid_until))
  and not exists (select from postmeter.delivery d
                  where d.destination_id = s.destination_id and d.key = postmeter.remittance_key(s.buyer, p.name, p.hour)
                    and d.status <> 'nothing_due')
  and not exists (select from waiting w where w.destination_id = s.destination_id and w.buyer = s.buyer and w.hour = p.hour)
order by s.id, p.id, p.hour
limit $1
