-- balance_months: per destination and month, how many meters' balances are proven and as of when.
select p.destination, pg_catalog.left(p.month::pg_catalog.text, 7) as month, p.meters, p.proven, p.moved, p.anew, p.open,
       postmeter.when_said(p.proven_from) as proven_from, postmeter.when_said(p.proven_until) as proven_until,
       postmeter.when_said(p.read_from) as read_from
from postmeter.balance_proof p
order by p.month, p.destination
