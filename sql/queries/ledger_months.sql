-- ledger_months: months of the ledger and whether they are finished; reads those that are old enough.
select p.month, pg_catalog.sum(p.bytes)::bigint as bytes, pg_catalog.min(p.why_not) as why_not, pg_catalog.min(p.exported_at) as exported_at,
       pg_catalog.min(p.digest) as digest, pg_catalog.min(p.dropped_at) as dropped_at
from postmeter.ledger_partition p group by p.month order by p.month
