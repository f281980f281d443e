-- report_cuts: the arithmetic of a remittance, per cut and meter, as it was done. Own is what is of its own month: the meter of
-- its key, or instead of it that of its contract.
-- $1 delivery. Relies on cut_pkey. Quotients are for people; is_exact and is_carried_exact tell whether nine decimals
-- show them whole.
select c.round, c.cut_at, m.month, m.dimension, m.rounding, m.decimals, m.month_end, m.month = k.month as is_own, m.buyer as contract,
       i.rounding as rounding_now, i.decimals as decimals_now,
       c.denominator::text as denominator, trim_scale(c.units)::text as units,
       trim_scale(round(c.units / c.denominator, 9))::text as unrounded,
       round(c.units / c.denominator, 9) * c.denominator = c.units as is_exact,
       trim_scale(postmeter.round_units(c.units, c.denominator, m.rounding, m.decimals))::text as rounded,
       trim_scale(c.billed_before)::text as billed_before, trim_scale(c.to_bill)::text as to_bill,
       trim_scale(c.billed_before + c.to_bill)::text as billed_after,
       trim_scale(round(c.carried / c.denominator, 9))::text as carried,
       round(c.carried / c.denominator, 9) * c.denominator = c.carried as is_carried_exact, c.deferred,
       (select coalesce(jsonb_agg(e.metric || jsonb_build_object(
                    'used', trim_scale(n.used)::text,
                    'counted', trim_scale(n.used - (e.metric ->> 'covered')::numeric)::text) order by e.number), '[]')
        from jsonb_array_elements(c.metrics) with ordinality e(metric, number)
        cross join lateral (
            select (e.metric ->> 'used_before')::numeric + (e.metric ->> 'used_here')::numeric as used) n
       ) as metrics,
       later.delivery_id as billed_next_by, later.hour as billed_next_hour,
       trim_scale(later.to_bill)::text as billed_next
from postmeter.cut c
join postmeter.delivery d on d.id = c.delivery_id
join postmeter.meter m on m.id = c.meter_id
join postmeter.meter k on k.id = d.meter_id
-- what the catalogue says by now, where that is something else
left join lateral (
    select n.rounding, n.decimals
    from postmeter.dimension_in(m.destination_id, m.dimension, m.month) n
    where (n.rounding, n.decimals) is distinct from (m.rounding, m.decimals)
) i on true
-- what was carried is billed by the next cut of the meter that billed anything
left join lateral (
    select n.delivery_id, nd.hour, n.to_bill
    from postmeter.cut n
    join postmeter.delivery nd on nd.id = n.delivery_id
    where n.meter_id = c.meter_id and n.to_bill > 0
      and (n.cut_at, n.delivery_id, n.round) > (c.cut_at, c.delivery_id, c.round)
    order by n.cut_at, n.delivery_id, n.round
    limit 1
) later on true
where c.delivery_id = $1 and c.round >= 0
  -- nothing is counted on the meter of the key where the contract has another
  and not (c.meter_id = d.meter_id and c.metrics = '[]' and exists (
        select from postmeter.cut o
        join postmeter.meter om on om.id = o.meter_id
        where o.delivery_id = c.delivery_id and o.round = c.round and o.meter_id <> c.meter_id and om.month = k.month))
order by c.round, is_own desc, c.meter_id
