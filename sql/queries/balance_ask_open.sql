-- balance_ask_open: meters that did not close when they were proven last are read again whole.
select postmeter.ask_open_anew()
