-- report_allocations: which remittance counted a usage, by which subscription and dimension; without shadows.
-- $1 usage. Relies on allocation_pkey.
select a.delivery_id, t.name as destination, d.hour, a.hour as own_hour, a.round, d.round as cuts,
       a.subscription_id, s.account, s.valid_from, s.valid_until, m.dimension, m.month, k.buyer, m.buyer as contract,
       mm.factor_numerator, mm.factor_denominator, m.rounding, m.decimals, t.late_policy
from postmeter.allocation a
join postmeter.destination t on t.id = a.destination_id
join postmeter.delivery d on d.id = a.delivery_id
join postmeter.subscription s on s.id = a.subscription_id
join postmeter.meter_metric mm on mm.id = a.meter_metric_id
join postmeter.meter m on m.id = mm.meter_id
join postmeter.meter k on k.id = d.meter_id
where a.usage_id = $1 and t.shadow_of is null
order by a.destination_id
