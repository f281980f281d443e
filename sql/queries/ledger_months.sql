-- ledger_months: months of the ledger and whether they are finished; reads those that are old enough.
select p.month, sum(p.bytes)::bigint as bytes, min(p.why_not) as why_not, min(p.exported_at) as exported_at,
       min(p.digest) as digest, min(p.dropped_at) as dropped_at
from postmeter.ledger_partition p group by p.month order by p.month
