-- reconcile_differences: what we and a marketplace hold differently of a day, and how much was compared.
-- $1 name of the destination, $2 day; of a day whose remittances were dropped there is no difference. Reads view postmeter.reconciled.
select r.buyer, r.dimension, r.ours::text as ours, r.theirs::text as theirs, coalesce(r.difference::text, '') as difference, r.states, r.verdict
from postmeter.reconciled r
where r.destination = $1 and r.day = $2::text::date
order by (r.verdict = 'equal'), abs(r.difference) desc nulls last, r.buyer, r.dimension
