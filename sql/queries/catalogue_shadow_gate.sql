-- catalogue_shadow_gate: where there are shadows, lets folds end and new ones wait until this edit is over: shadows are told
-- of buyers between folds (postmeter.shadow_told).
-- $1 whether this edit adds the first.
select pg_advisory_xact_lock(hashtextextended('postmeter.closed_month', 0))
where $1 or exists (select from postmeter.destination t where t.shadow_of is not null)
