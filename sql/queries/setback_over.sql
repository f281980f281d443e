-- setback_over: drops what is noted of members that the step has nothing to do with any more: another worker took them, or
-- what failed together went well together.
-- $1 step. Rows are locked in the order of their key, as by whoever else writes several.
with over as materialized (
    select s.step, s.member from postmeter.setback s
    where s.step = $1 and s.member in (select postmeter.setbacks_over($1))
    order by s.step, s.member
    for update
)
delete from postmeter.setback s using over o where s.step = o.step and s.member = o.member
