-- fold_late: the remittance that takes late usage of a meter, or null if it must be held.
-- $1 meter, $2 its own hour, $3 subscription, $4 dimension. The meters are locked (fold_late_lock).
select postmeter.open_late($1, $2, s.identity, d.product) as delivery_id
from postmeter.subscription s, postmeter.dimension d
where s.id = $3 and d.id = $4
