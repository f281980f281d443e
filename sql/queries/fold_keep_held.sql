-- fold_keep_held: keeps usage held until this transaction ends: nothing returns it without what it corrects.
-- $1 usages.
select postmeter.keep_held($1) as usage_id
