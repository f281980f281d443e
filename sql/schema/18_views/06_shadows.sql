-- How a shadow differs from its live destination.

create view postmeter.shadow_difference as
with pair as (
    select s.id as shadow_id, s.name as shadow, l.id as live_id, l.name as live,
           -- whole hours since it was first told of a buyer
           (select min(c.changed_at) from postmeter.catalogue_change c
            where c.entry = 'subscription' and c.old_row is null
                and c.new_row ->> 'destination_id' = s.id::text) as since
    from postmeter.destination s join postmeter.destination l on l.id = s.shadow_of
), side as (
    select p.shadow, p.live, p.since, m.month, m.buyer, m.dimension, d.hour, m.destination_id, d.product,
        false as shadows,
           d.id as delivery_id, d.status, d.quantity
    from pair p
    join postmeter.meter m on m.destination_id = p.live_id
    join postmeter.delivery d on d.meter_id = m.id
    where d.status <> 'released'
      -- a shadow may try a few customers: the others are not missing there
      and exists (select from postmeter.subscription a
                  join postmeter.subscription b on b.org = a.org and b.product = a.product
                      and b.destination_id = p.shadow_id
                  where a.destination_id = p.live_id and a.buyer = m.buyer)
    union all
    select p.shadow, p.live, p.since, m.month, m.buyer, m.dimension, d.hour, m.destination_id, d.product, true,
           d.id, d.status, d.quantity
    from pair p
    join postmeter.meter m on m.destination_id = p.shadow_id
    join postmeter.delivery d on d.meter_id = m.id
    where d.status <> 'released'
), priced as (
    select s.shadow, s.live, s.since, s.month, s.buyer, s.dimension, s.hour, s.shadows, s.delivery_id, s.status,
        s.quantity,
           x.unit_price * s.quantity as amount, x.currency
    from side s
    left join lateral (
        select x.unit_price, x.currency from postmeter.dimension x
        where x.destination_id = s.destination_id and x.name = s.dimension and x.product = s.product
            and x.valid_from <= s.month
        order by x.valid_from desc, x.id limit 1
    ) x on true
), compared as (
    select p.shadow, p.live, p.since, p.month, p.buyer, p.dimension, p.hour,
           max(p.delivery_id) filter (where not p.shadows) as live_delivery_id,
               max(p.delivery_id) filter (where p.shadows) as shadow_delivery_id,
           max(p.status) filter (where not p.shadows) as live_status,
               max(p.status) filter (where p.shadows) as shadow_status,
           max(p.quantity) filter (where not p.shadows) as live_quantity,
               max(p.quantity) filter (where p.shadows) as shadow_quantity,
           max(p.amount) filter (where not p.shadows) as live_amount,
               max(p.currency) filter (where not p.shadows) as live_currency,
           max(p.amount) filter (where p.shadows) as shadow_amount,
               max(p.currency) filter (where p.shadows) as shadow_currency
    from priced p group by 1, 2, 3, 4, 5, 6, 7
)
select c.shadow, c.live, c.month, c.buyer, c.dimension, c.hour, c.live_delivery_id, c.live_status,
    trim_scale(c.live_quantity) as live_quantity,
       trim_scale(c.live_amount) as live_amount, c.live_currency, c.shadow_delivery_id, c.shadow_status,
       trim_scale(c.shadow_quantity) as shadow_quantity, trim_scale(c.shadow_amount) as shadow_amount,
           c.shadow_currency,
       trim_scale(coalesce(c.shadow_quantity, 0) - coalesce(c.live_quantity, 0)) as difference,
       case when c.hour < c.since then 'before_shadow'
            when c.live_status = 'open' or c.shadow_status = 'open' then 'open'
            when coalesce(c.shadow_quantity, 0) = coalesce(c.live_quantity, 0) then 'equal'
            when c.shadow_delivery_id is null then 'live_alone'
            when c.live_delivery_id is null then 'shadow_alone'
            else 'quantity' end as verdict
from compared c;
comment on view postmeter.shadow_difference is
    'Per key and hour, what the live destination bills beside what its shadow would bill, in billing units, '
    'whatever became of either. verdict: equal, quantity, live_alone, shadow_alone, open (one of them is not cut '
    'yet), before_shadow (the hour began before the shadow was told of its first buyer). Live keys of orgs that '
    'the shadow knows nothing of are left out. Amounts have their currency; null: unpriced.';
comment on column postmeter.shadow_difference.shadow is 'Name of the shadow.';
comment on column postmeter.shadow_difference.live is 'Name of the live destination.';
comment on column postmeter.shadow_difference.month is 'First day of the billing month.';
comment on column postmeter.shadow_difference.buyer is 'The buyer in canonical text.';
comment on column postmeter.shadow_difference.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.shadow_difference.hour is 'The hour, UTC.';
comment on column postmeter.shadow_difference.live_delivery_id is 'The live remittance; null: there is none.';
comment on column postmeter.shadow_difference.live_status is 'Where it stands.';
comment on column postmeter.shadow_difference.live_quantity is 'Its billing units.';
comment on column postmeter.shadow_difference.live_amount is 'At the live price; null: unpriced.';
comment on column postmeter.shadow_difference.live_currency is 'Currency of the live price.';
comment on column postmeter.shadow_difference.shadow_delivery_id is 'The shadow''s remittance; null: there is none.';
comment on column postmeter.shadow_difference.shadow_status is 'Where it stands.';
comment on column postmeter.shadow_difference.shadow_quantity is 'Its billing units.';
comment on column postmeter.shadow_difference.shadow_amount is 'At the shadow''s price.';
comment on column postmeter.shadow_difference.shadow_currency is 'Currency of the shadow''s price.';
comment on column postmeter.shadow_difference.difference is 'The shadow''s quantity less the live one.';
comment on column postmeter.shadow_difference.verdict is
    'equal, quantity, live_alone, shadow_alone, open (one is not cut yet), before_shadow.';

create view postmeter.shadow_meter_difference as
select d.shadow, d.live, d.month, d.buyer, d.dimension, count(*) filter (where d.verdict <> 'before_shadow') as hours,
       count(*) filter (where d.verdict not in ('equal', 'before_shadow')) as hours_differ,
       coalesce(sum(d.live_quantity) filter (where d.verdict <> 'before_shadow'), 0) as live_quantity,
       coalesce(sum(d.shadow_quantity) filter (where d.verdict <> 'before_shadow'), 0) as shadow_quantity,
       coalesce(sum(d.difference) filter (where d.verdict <> 'before_shadow'), 0) as difference,
       coalesce(sum(d.live_quantity) filter (where d.verdict = 'before_shadow'), 0) as live_before_shadow,
       sum(d.live_amount) filter (where d.verdict <> 'before_shadow') as live_amount,
           max(d.live_currency) as live_currency,
       sum(d.shadow_amount) filter (where d.verdict <> 'before_shadow') as shadow_amount,
           max(d.shadow_currency) as shadow_currency
from postmeter.shadow_difference d
group by 1, 2, 3, 4, 5;
comment on view postmeter.shadow_meter_difference is
    'shadow_difference summed per month and meter (a buyer''s dimension). Hours before the shadow began are left '
    'out and stand in live_before_shadow. A meter has one dimension, so one currency a side.';
comment on column postmeter.shadow_meter_difference.shadow is 'Name of the shadow.';
comment on column postmeter.shadow_meter_difference.live is 'Name of the live destination.';
comment on column postmeter.shadow_meter_difference.month is 'First day of the billing month.';
comment on column postmeter.shadow_meter_difference.buyer is 'The buyer in canonical text.';
comment on column postmeter.shadow_meter_difference.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.shadow_meter_difference.hours is 'Hours that were compared.';
comment on column postmeter.shadow_meter_difference.hours_differ is 'Of these, hours that are not equal.';
comment on column postmeter.shadow_meter_difference.live_quantity is 'Billing units of the live meter.';
comment on column postmeter.shadow_meter_difference.shadow_quantity is 'Billing units of the shadow''s meter.';
comment on column postmeter.shadow_meter_difference.difference is 'The shadow''s less the live ones.';
comment on column postmeter.shadow_meter_difference.live_before_shadow is 'Live billing units of the hours left out.';
comment on column postmeter.shadow_meter_difference.live_amount is 'At the live price; null: unpriced.';
comment on column postmeter.shadow_meter_difference.live_currency is 'Currency of the live price.';
comment on column postmeter.shadow_meter_difference.shadow_amount is 'At the shadow''s price; null: unpriced.';
comment on column postmeter.shadow_meter_difference.shadow_currency is 'Currency of the shadow''s price.';

create view postmeter.shadow_usage_difference as
with pair as (
    select s.id as shadow_id, s.name as shadow, l.id as live_id, l.name as live
    from postmeter.destination s join postmeter.destination l on l.id = s.shadow_of
), side as (
    select p.shadow, p.live, m.month, s.org, mm.product, mm.metric, a.destination_id = p.live_id as is_live,
        null::text as reason,
           count(*) as usages, sum(a.quantity) as quantity
    from pair p
    join postmeter.allocation a on a.destination_id in (p.live_id, p.shadow_id)
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    join postmeter.meter m on m.id = mm.meter_id
    join postmeter.subscription s on s.id = a.subscription_id
    where exists (select from postmeter.subscription b
                  where b.org = s.org and b.product = s.product and b.destination_id = p.shadow_id)
    group by 1, 2, 3, 4, 5, 6, 7
    union all
    select p.shadow, p.live, postmeter.month_of(g.hour, t.zone), g.org, g.product, g.metric, false,
        coalesce(g.reason, 'waiting'),
           count(*), sum(g.quantity)
    from pair p
    join postmeter.destination t on t.id = p.shadow_id
    join postmeter.shadow_usage g on g.destination_id = p.shadow_id
    group by 1, 2, 3, 4, 5, 6, 8
)
select s.shadow, s.live, s.month, s.org, s.product, s.metric,
       coalesce(sum(s.usages) filter (where s.is_live), 0)::bigint as live_usages,
       trim_scale(coalesce(sum(s.quantity) filter (where s.is_live), 0)) as live_quantity,
       coalesce(sum(s.usages) filter (where not s.is_live and s.reason is null), 0)::bigint as shadow_usages,
       trim_scale(coalesce(sum(s.quantity) filter (where not s.is_live and s.reason is null), 0)) as shadow_quantity,
       coalesce(sum(s.usages) filter (where s.reason is not null), 0)::bigint as uncounted_usages,
       trim_scale(coalesce(sum(s.quantity) filter (where s.reason is not null), 0)) as uncounted_quantity,
       string_agg(distinct s.reason, ', ' order by s.reason) as reasons,
       trim_scale(coalesce(sum(s.quantity) filter (where not s.is_live),
           0) - coalesce(sum(s.quantity) filter (where s.is_live), 0)) as difference
from side s
group by 1, 2, 3, 4, 5, 6;
comment on view postmeter.shadow_usage_difference is
    'Per month, org, product and metric, in units of the metric: usage that the live destination counted, that its '
    'shadow counted, and that the shadow was given and has not counted, with the reasons (waiting, or those of '
    'shadow_usage). Compares shadows of another marketplace too, whose keys are others. difference: given to the '
    'shadow less counted live; below zero for usage from before the shadow.';
comment on column postmeter.shadow_usage_difference.shadow is 'Name of the shadow.';
comment on column postmeter.shadow_usage_difference.live is 'Name of the live destination.';
comment on column postmeter.shadow_usage_difference.month is 'First day of the billing month.';
comment on column postmeter.shadow_usage_difference.org is 'The org.';
comment on column postmeter.shadow_usage_difference.product is 'Our product, by stable tag.';
comment on column postmeter.shadow_usage_difference.metric is 'Our metric, by stable tag.';
comment on column postmeter.shadow_usage_difference.live_usages is 'Usages counted by the live destination.';
comment on column postmeter.shadow_usage_difference.live_quantity is 'Their quantity.';
comment on column postmeter.shadow_usage_difference.shadow_usages is 'Usages counted by the shadow.';
comment on column postmeter.shadow_usage_difference.shadow_quantity is 'Their quantity.';
comment on column postmeter.shadow_usage_difference.uncounted_usages is 'Usages given to the shadow and not counted.';
comment on column postmeter.shadow_usage_difference.uncounted_quantity is 'Their quantity.';
comment on column postmeter.shadow_usage_difference.reasons is 'Why; waiting: not yet.';
comment on column postmeter.shadow_usage_difference.difference is 'Given to the shadow less counted live.';
