-- balance_prove_all: takes every proof back, so that all of it is read again; how many meters.
select postmeter.prove_balance_anew()
