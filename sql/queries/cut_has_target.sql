-- cut_has_target: whether another hour can take what a remittance that missed its time has counted.
-- $1 delivery.
select postmeter.target_hour(d.meter_id) is not null as has_target from postmeter.delivery d where d.id = $1
