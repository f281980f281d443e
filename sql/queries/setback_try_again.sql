-- setback_try_again: what was set aside is tried in the next round, after a change that could cure it.
select postmeter.try_setbacks_again()
