-- balance_round_over: the whole ledger was read again; says between when, and when that begins anew.
select postmeter.read_again_over()
