-- report_refused: buyers that were refused in a call of their own, and whose fault that is.
-- No parameters.
select r.destination, r.buyer, r.code, r.http_status, r.refusals, r.to_blame, r.delivery_id, d.status
from postmeter.refused_buyer r
join postmeter.delivery d on d.id = r.delivery_id
where r.to_blame <> 'buyer' or d.status = 'held'
order by r.destination, r.since, r.buyer
limit 100
