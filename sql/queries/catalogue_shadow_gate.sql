-- catalogue_shadow_gate: where this edit tells a shadow of a buyer, lets folds end and new ones wait until it is over: shadows
-- are told between folds (postmeter.lock_out_folds).
-- $1 whether this edit adds a shadow, $2 the names of the destinations whose subscriptions it adds or changes.
select postmeter.month_gate_alone()
where $1 or exists (select from postmeter.destination t where t.shadow_of is not null and t.name = any ($2))
