-- fold_credit: corrections of what cuts have counted lower the meters at once; what is sent by now stays as it is, and
-- the difference is the meter's credit. The meters are locked (fold_late_lock).
-- $1 metrics of meters, $2 quantities below zero.
with given as materialized (
    select g.id, sum(g.quantity) as quantity, count(*) as usages from unnest($1, $2) g(id, quantity) group by 1
), metric as materialized (
    select mm.id, mm.meter_id, mm.factor_numerator, mm.factor_denominator, g.usages, u.used,
           -- what a contract paid for is never more than there was, and never less than nothing
           greatest(0, least(u.used, mm.covered)) as covered
    from postmeter.meter_metric mm
    left join given g on g.id = mm.id
    cross join lateral (select mm.used + coalesce(g.quantity, 0) as used) u
    where mm.meter_id in (select o.meter_id from postmeter.meter_metric o where o.id in (select n.id from given n))
), total as materialized (
    select f.meter_id, f.denominator,
           sum((f.used - f.covered) * f.factor_numerator * (f.denominator / f.factor_denominator)) as units
    from (select k.*, postmeter.lcm_of(k.factor_denominator) over (partition by k.meter_id) as denominator from metric k) f
    group by 1, 2
), metrics as (
    update postmeter.meter_metric mm
    set used = trim_scale(k.used), covered = trim_scale(k.covered), usages = mm.usages + k.usages
    from metric k
    where mm.id = k.id and k.usages is not null
)
update postmeter.meter m
set carried = trim_scale(t.units - m.billed * t.denominator), denominator = t.denominator,
    -- no hour has to take what nobody owes any more
    billable = trim_scale(least(m.billable, greatest(0, postmeter.round_units(t.units, t.denominator,
                   case when m.month_end = 'round_up' then 'up' else m.rounding end, m.decimals) - m.billed)))
from total t
where m.id = t.meter_id
