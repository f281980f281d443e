-- ledger_exports: every export that was recorded, in order: of months of the ledger, and of billing months with their remittances.
select e.number, e.month, e.digest, e.manifest, e.destination
from (select l.number, l.month, l.digest, l.manifest, null::text as destination from postmeter.ledger_export l
      union all
      select m.number, m.month, m.digest, m.manifest, t.name
      from postmeter.month_export m
      join postmeter.destination t on t.id = m.destination_id) e
order by e.number
