-- Where usage and remittances are, for proofs.

create view postmeter.meter_balance as
with factor as not materialized ( -- so that one meter_id is looked for in its own rows only
    select mm.meter_id, mm.covered,
           mm.factor_numerator * (postmeter.lcm_of(mm.factor_denominator::numeric) over (partition by mm.meter_id) /
               mm.factor_denominator) as units,
           postmeter.lcm_of(mm.factor_denominator::numeric) over (partition by mm.meter_id) as denominator
    from postmeter.meter_metric mm
), covered as (
    select f.meter_id, sum(f.covered * f.units) as covered, max(f.denominator) as denominator from factor f group by 1
)
select c.meter_id, m.destination_id, m.month, c.denominator, c.covered,
    m.carried * (c.denominator / m.denominator) as carried,
       c.covered + m.carried * (c.denominator / m.denominator) as holds
from covered c
join postmeter.meter m on m.id = c.meter_id;
comment on view postmeter.meter_balance is
    'One side of the balance: what a meter holds, in billing units x denominator. The other: remittance_balance.';
comment on column postmeter.meter_balance.meter_id is 'The meter.';
comment on column postmeter.meter_balance.destination_id is 'Its destination.';
comment on column postmeter.meter_balance.month is 'First day of its billing month.';
comment on column postmeter.meter_balance.denominator is 'Common denominator of the meter''s factors.';
comment on column postmeter.meter_balance.covered is 'Paid for by contracts.';
comment on column postmeter.meter_balance.carried is 'A remainder not billed yet, or (below zero) credit.';
comment on column postmeter.meter_balance.holds is 'covered + carried: what its remittances must leave.';

create view postmeter.remittance_balance as
with factor as not materialized (
    select mm.id, mm.meter_id,
           mm.factor_numerator * (postmeter.lcm_of(mm.factor_denominator::numeric) over (partition by mm.meter_id) /
               mm.factor_denominator) as units,
           postmeter.lcm_of(mm.factor_denominator::numeric) over (partition by mm.meter_id) as denominator
    from postmeter.meter_metric mm
), counted as (
    -- the remittances of the meter, and those of other keys or later months of which it is a part
    select d.meter_id, d.id, d.status, d.round from postmeter.delivery d
    union all
    select p.meter_id, d.id, d.status, d.round
    from postmeter.part p
    join postmeter.delivery d on d.id = p.delivery_id and d.meter_id <> p.meter_id
), line as (
    select f.meter_id, f.denominator, d.id as delivery_id, d.status, sum(u.quantity * f.units) as recorded,
           coalesce(sum(a.quantity * f.units) filter (where d.status = 'open' and a.round = d.round), 0) as open,
           0::numeric as billed, 0::numeric as shown
    from factor f
    join counted d on d.meter_id = f.meter_id
    join postmeter.allocation a on a.delivery_id = d.id and a.meter_metric_id = f.id
    join postmeter.usage u on u.id = a.usage_id
    group by 1, 2, 3, 4
    union all
    -- what dropped months of the ledger came to
    select f.meter_id, f.denominator, c.delivery_id, d.status, sum(c.quantity * f.units), 0, 0, 0
    from postmeter.ledger_carry c
    join factor f on f.id = c.meter_metric_id
    left join postmeter.delivery d on d.id = c.delivery_id
    group by 1, 2, 3, 4
    union all
    select f.meter_id, f.denominator, c.delivery_id, d.status, 0, 0, sum(c.to_bill),
           sum(case when d.status = 'conflict' and d.shown_quantity is not null and d.quantity > 0
                    then least(c.to_bill, c.to_bill * d.shown_quantity / d.quantity) else 0 end)
    from (select distinct x.meter_id, x.denominator from factor x) f
    join postmeter.cut c on c.meter_id = f.meter_id
    join postmeter.delivery d on d.id = c.delivery_id
    -- what was released is billed with another remittance
    where d.status not in ('open', 'nothing_due', 'released')
    group by 1, 2, 3, 4
)
select l.meter_id, l.delivery_id, l.status, l.denominator, sum(l.recorded) as recorded, sum(l.open) as open,
    sum(l.billed) as billed,
       sum(l.shown) as shown, sum(l.recorded) - sum(l.open) - sum(l.billed) * l.denominator as remains
from line l
group by l.meter_id, l.delivery_id, l.status, l.denominator;
comment on view postmeter.remittance_balance is
    'One side of the balance: what each remittance leaves on a meter that it counts on. The other: meter_balance. '
    'Ask it by meter_id, or by meter_id and delivery_id.';
comment on column postmeter.remittance_balance.meter_id is 'The meter.';
comment on column postmeter.remittance_balance.delivery_id is 'The remittance.';
comment on column postmeter.remittance_balance.status is 'Its status.';
comment on column postmeter.remittance_balance.denominator is 'Common denominator of the meter''s factors.';
comment on column postmeter.remittance_balance.recorded is
    'Usage allocated to it on this meter, in billing units x denominator.';
comment on column postmeter.remittance_balance.open is 'Of this, in its hour while that is open.';
comment on column postmeter.remittance_balance.billed is
    'Billing units that it bills for this meter; what was released is billed elsewhere.';
comment on column postmeter.remittance_balance.shown is 'Of a conflict, the billing units that they hold.';
comment on column postmeter.remittance_balance.remains is
    'recorded - open - billed x denominator: what it leaves on the meter, as cover, remainder or credit.';

create view postmeter.usage_place as
    select 'recorded' as place,
      u.id as usage_id, u.org, u.product, u.metric, u.quantity, 1 as usages, u.quantity as left_over,
      1 as left_usages
     from postmeter.usage u
    union all
    select 'waiting' as place,
      o.id as usage_id, o.org, o.product, o.metric, o.quantity, 1 as usages,
      - o.quantity as left_over,
      '-1'::integer as left_usages
     from postmeter.outbox_entry o
    union all
    select 'held' as place,
      h.usage_id, h.org,
      h.product collate "default" as product,
      h.metric, h.quantity, 1 as usages,
      - h.quantity as left_over,
      '-1'::integer as left_usages
     from postmeter.held h
    union all
    select 'exempt' as place,
      u.id as usage_id, u.org, u.product, u.metric, u.quantity, 1 as usages,
      - u.quantity as left_over,
      '-1'::integer as left_usages
     from postmeter.exempted x
      join postmeter.usage u on u.id = x.usage_id
    union all
    select 'written_off' as place,
      u.id as usage_id, u.org, u.product, u.metric, u.quantity, 1 as usages,
      - u.quantity as left_over,
      '-1'::integer as left_usages
     from postmeter.usage_written_off x
      join postmeter.usage u on u.id = x.usage_id
    union all
    select 'allocated' as place,
      a.usage_id, s.org,
      mm.product collate "default" as product,
      mm.metric collate "default" as metric,
      a.quantity, 1 as usages,
      - a.quantity as left_over,
      '-1'::integer as left_usages
     from postmeter.allocation a
      join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
      join postmeter.subscription s on s.id = a.subscription_id
      join postmeter.meter_metric mm on mm.id = a.meter_metric_id;
comment on view postmeter.usage_place is
    'Every usage as it was recorded, and again in the one place where it is: left_over adds up to zero over any '
    'usages, and so does left_usages. Ask it by a range of usage_id. Of dropped months: ledger_carry.';
comment on column postmeter.usage_place.place is
    'recorded, and where it is: waiting, held, exempt, written_off or allocated (by a live destination).';
comment on column postmeter.usage_place.usage_id is 'The usage.';
comment on column postmeter.usage_place.org is 'The org.';
comment on column postmeter.usage_place.product is 'Our product.';
comment on column postmeter.usage_place.metric is 'Our metric.';
comment on column postmeter.usage_place.quantity is 'How much, in units of the metric.';
comment on column postmeter.usage_place.usages is '1.';
comment on column postmeter.usage_place.left_over is
    'The quantity if it is recorded, and less the quantity where it is.';
comment on column postmeter.usage_place.left_usages is '1 if it is recorded, -1 where it is.';

-- The views say what they said before.
create view postmeter.carried_place as
select c.place, c.month, c.org, c.product, c.metric, c.quantity, c.usages,
       case when c.place = 'recorded' then c.quantity else - c.quantity end as left_over,
       case when c.place = 'recorded' then c.usages else - c.usages end as left_usages
from postmeter.ledger_carry c
left join postmeter.destination t on t.id = c.destination_id
where t.shadow_of is null
  -- of a dropped meter there is one row for all its remittances, beside theirs until those are gone
  and (c.meter_metric_id is null or exists (select from postmeter.meter_metric mm where mm.id = c.meter_metric_id));
comment on view postmeter.carried_place is 'What usage_place came to of months of the ledger that were dropped.';
comment on column postmeter.carried_place.place is 'As in usage_place.';
comment on column postmeter.carried_place.month is 'The dropped month.';
comment on column postmeter.carried_place.org is 'The org.';
comment on column postmeter.carried_place.product is 'Our product.';
comment on column postmeter.carried_place.metric is 'Our metric.';
comment on column postmeter.carried_place.quantity is 'How much, in units of the metric.';
comment on column postmeter.carried_place.usages is 'How many usages.';
comment on column postmeter.carried_place.left_over is
    'The quantity if it was recorded, and less the quantity where it was.';
comment on column postmeter.carried_place.left_usages is 'The same of how many.';
