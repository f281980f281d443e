-- fold_write_off: corrections of usage that was given up: kept, and without effect.
-- $1 usages, $2 the decisions by which what they correct was given up.
insert into postmeter.usage_written_off (usage_id, decision_id)
select * from unnest($1, $2)
