-- fold_gate: keeps months from being closed while this fold runs; what is closed is read by later statements.
select postmeter.month_gate()
