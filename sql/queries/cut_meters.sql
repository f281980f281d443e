-- cut_meters: the arithmetic of a cut, per remittance and meter; writes totals and keeps the sums in postmeter.cut.
-- $1 deliveries; $2 per delivery, whether all is carried to another hour because this one can no longer be sent.
-- No meter stands twice. Relies on allocation_by_delivery.
with given as materialized (
    select d.id as delivery_id, d.meter_id, d.hour, d.round, g.deferred
    from unnest($1, $2) g(delivery_id, deferred)
    join postmeter.delivery d on d.id = g.delivery_id
), here as materialized (
    select g.delivery_id, a.meter_metric_id, mm.meter_id, sum(a.quantity) as used, count(*) as usages
    from given g
    join postmeter.allocation a on a.delivery_id = g.delivery_id and a.round = g.round
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    group by 1, 2, 3
), counted as materialized (
    select g.delivery_id, g.meter_id from given g
    union
    select h.delivery_id, h.meter_id from here h
    union
    select g.delivery_id, p.meter_id from given g join postmeter.part p on p.delivery_id = g.delivery_id
), metric as materialized (
    select g.delivery_id, g.hour, g.round, g.deferred, mm.meter_id, mm.id, mm.metric, mm.product, mm.used as used_before,
           coalesce(h.used, 0) as used_here, coalesce(h.usages, 0) as usages_here, mm.used + coalesce(h.used, 0) as used_after, mm.covered as covered_before,
           mm.factor_numerator, mm.factor_denominator,
           -- one that begins within the hour counts in it, and one that ends; of a renewal, the greater
           (select greatest(coalesce(sum(c.quantity) filter (where s.valid_from <= g.hour), 0),
                            coalesce(sum(c.quantity) filter (
                                where s.valid_until is null or s.valid_until >= g.hour + interval '1 hour'), 0))
            from postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) b
            join postmeter.subscription s on s.id = b.subscription_id
            join postmeter.cover c on c.subscription_id = s.id and c.metric = mm.metric
            where s.product = mm.product
              and s.valid_from < g.hour + interval '1 hour' and (s.valid_until is null or g.hour < s.valid_until)) as cover
    from counted k
    join given g on g.delivery_id = k.delivery_id
    join postmeter.meter m on m.id = k.meter_id
    join postmeter.meter_metric mm on mm.meter_id = k.meter_id
    left join here h on h.delivery_id = k.delivery_id and h.meter_metric_id = mm.id
), covered as materialized (
    -- of all that the contract's meters have used of this metric; what another of them has covered stays covered
    select x.*, o.used as used_elsewhere,
           greatest(0, least(x.used_after, least(x.used_after + o.used, greatest(x.covered_before + o.covered, x.cover)) - o.covered))
               as covered_after
    from metric x
    cross join lateral (
        select coalesce(sum(mm.used), 0) as used, coalesce(sum(mm.covered), 0) as covered
        from postmeter.shares_cover(x.meter_id) s
        join postmeter.meter_metric mm on mm.meter_id = s.other_id and mm.product = x.product and mm.metric = x.metric
    ) o
), denominator as materialized (
    select c.delivery_id, c.meter_id, postmeter.lcm_of(c.factor_denominator) as denominator
    from covered c group by 1, 2
), totals as materialized (
    select k.delivery_id, k.meter_id, g.round, g.deferred,
           coalesce(d.denominator, 1) as denominator,
           coalesce(sum((c.used_after - c.covered_after) * c.factor_numerator * (d.denominator / c.factor_denominator)), 0) as units,
           coalesce(jsonb_agg(jsonb_build_object('product', c.product, 'metric', c.metric, 'used_before', c.used_before::text,
               'used_here', c.used_here::text, 'usages_here', c.usages_here, 'cover', c.cover::text, 'covered', c.covered_after::text,
               'factor', c.factor_numerator || '/' || c.factor_denominator) order by c.product, c.metric)
               filter (where c.id is not null), '[]') as metrics,
           -- the meter's last hour, or any cut after its month or its contract's subscriptions are over
           m.month_end = 'round_up'
               and postmeter.meter_ends(m.destination_id, m.buyer, (m.month + interval '1 month')::timestamp at time zone t.zone)
                   <= greatest(g.hour + interval '1 hour', postmeter.clock()) as settles
    from counted k
    join given g on g.delivery_id = k.delivery_id
    join postmeter.meter m on m.id = k.meter_id
    join postmeter.destination t on t.id = m.destination_id
    left join denominator d on d.delivery_id = k.delivery_id and d.meter_id = k.meter_id
    left join covered c on c.delivery_id = k.delivery_id and c.meter_id = k.meter_id
    group by k.delivery_id, k.meter_id, g.round, g.deferred, d.denominator, g.hour, t.zone, m.destination_id, m.buyer, m.month, m.month_end
), bill as materialized (
    select t.*, m.billed as billed_before,
           greatest(0, postmeter.round_units(t.units, t.denominator, case when t.settles then 'up' else m.rounding end, m.decimals)
                       - m.billed) as billable
    from totals t
    join postmeter.meter m on m.id = t.meter_id
), decided as materialized (
    select b.*, case when b.deferred then 0 else b.billable end as to_bill,
           case when b.deferred then b.billable else 0 end as left_over
    from bill b
), written as (
    insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics)
    select d.delivery_id, d.meter_id, d.round, d.denominator, d.units, trim_scale(d.billed_before), trim_scale(d.to_bill),
           trim_scale(d.units - (d.billed_before + d.to_bill) * d.denominator), d.deferred, d.metrics
    from decided d
), meters as (
    update postmeter.meter m
    set billed = trim_scale(m.billed + d.to_bill), carried = trim_scale(d.units - (m.billed + d.to_bill) * d.denominator),
        denominator = d.denominator, billable = trim_scale(d.left_over), cuts = m.cuts + 1
    from decided d where m.id = d.meter_id
), metrics as (
    update postmeter.meter_metric mm
    set used = trim_scale(c.used_after), covered = trim_scale(c.covered_after), usages = mm.usages + c.usages_here
    from covered c where mm.id = c.id
), identified as materialized (
    -- what is sent is what its buyer's subscriptions say by now: a plan or a label may have changed since it was opened
    select d.id, coalesce((
               select s.identity
               from postmeter.subscription s
               where s.destination_id = m.destination_id and s.buyer = m.buyer and s.product = d.product
                 and s.valid_from < d.hour + interval '1 hour' and (s.valid_until is null or d.hour < s.valid_until)
               order by s.identity = d.identity desc, s.id
               limit 1), d.identity) as identity
    from given g
    join postmeter.delivery d on d.id = g.delivery_id
    join postmeter.meter m on m.id = d.meter_id
), renamed as (
    update postmeter.delivery d set identity = i.identity from identified i where d.id = i.id and d.identity <> i.identity
)
select d.id, t.name as destination, d.key, d.hour, i.identity, d.product, m.dimension, greatest(m.decimals, q.decimals) as decimals, d.releases,
       trim_scale(q.quantity)::text as quantity, d.destination_id,
       -- where its buyer's subscriptions end inside the running hour: nothing comes after that
       case when postmeter.clock() < d.hour + interval '1 hour'
            then (select e.at from postmeter.served_until(d.destination_id, m.buyer, d.hour) e(at)
                  where e.at > d.hour and e.at < d.hour + interval '1 hour') end as ends,
       -- nothing can be placed in it in time any more, and the policy reports silent hours
       q.quantity = 0 and postmeter.clock() between d.deadline - t.lead and d.deadline
           and postmeter.reports_zero(d.destination_id, d.product, m.dimension, d.hour) as sends_zero,
       q.quantity > 0 and postmeter.allocates_by(d.destination_id, d.product, m.dimension, d.hour) <> '{}' as is_shared
from (select x.delivery_id, sum(x.to_bill) as quantity,
             max(o.decimals) filter (where scale(trim_scale(x.to_bill)) > 0) as decimals
      from decided x join postmeter.meter o on o.id = x.meter_id group by 1) q
join postmeter.delivery d on d.id = q.delivery_id
join identified i on i.id = d.id
join postmeter.meter m on m.id = d.meter_id
join postmeter.destination t on t.id = d.destination_id
order by d.id
