-- ledger_part: rows of part of a billing month as its export writes them, in the order of their keys.
-- $1 destination, $2 first day of the month. Relies on delivery_meter_id_hour_key.
select postmeter.ledger_line(d)
from postmeter.part d
where d.delivery_id in (select o.id from postmeter.destination t
                 join postmeter.meter m on m.destination_id = t.id and m.month = $2
                 join postmeter.delivery o on o.meter_id = m.id
                 where t.name = $1)
order by d.delivery_id, d.meter_id
