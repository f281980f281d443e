-- balance_prove_carried: proves that all usage of dropped months of the ledger was somewhere.
select postmeter.prove_carried()
