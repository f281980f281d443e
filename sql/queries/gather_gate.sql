-- gather_gate: one counts request statuses at a time, until the transaction ends.
select postmeter.gather_gate()
