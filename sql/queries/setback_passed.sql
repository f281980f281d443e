-- setback_passed: members that went through; nothing is left of what kept them.
-- $1 step, $2 members. Rows are locked in the order of their key, as by setback_locked.
with passed as materialized (
    select s.step, s.member from postmeter.setback s
    where s.step = $1 and s.member = any ($2)
    order by s.step, s.member
    for update
)
delete from postmeter.setback s using passed p where s.step = p.step and s.member = p.member
