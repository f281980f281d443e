-- ledger_billing: billing months, and whether their remittances may be dropped; reads those whose ledger is gone.
select m.destination, m.month, m.why_not, m.exported_at, m.digest, m.begun_at, m.dropped_at
from postmeter.ledger_month m order by m.month, m.destination
