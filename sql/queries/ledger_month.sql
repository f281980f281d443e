-- ledger_month: one month of the ledger and whether it is finished; reads it if it is old enough, and no other.
-- $1 first day of the month.
select p.month, sum(p.bytes)::bigint as bytes, min(p.why_not) as why_not, min(p.exported_at) as exported_at,
       min(p.digest) as digest, min(p.dropped_at) as dropped_at
from postmeter.ledger_partition p where p.month = $1 group by p.month
