-- stuck_meters: the meters on which each of these dead letters was cut.
-- $1 deliveries.
select c.delivery_id, c.meter_id from postmeter.cut c where c.delivery_id = any ($1) order by c.meter_id
