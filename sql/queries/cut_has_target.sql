-- cut_has_target: whether another hour can take what a remittance that missed its time has counted: its own meter's, or,
-- if nothing is counted on that, its contracts'.
-- $1 delivery.
select postmeter.target_hour(d.meter_id) is not null
       or not exists (select from postmeter.meter_metric mm where mm.meter_id = d.meter_id)
          and coalesce((select bool_and(postmeter.target_hour(p.meter_id) is not null) from postmeter.part p where p.delivery_id = d.id), false)
       as has_target
from postmeter.delivery d
where d.id = $1
