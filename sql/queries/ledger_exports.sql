-- ledger_exports: every export that was recorded, in order.
select e.number, e.month, e.digest, e.manifest from postmeter.ledger_export e order by e.number
