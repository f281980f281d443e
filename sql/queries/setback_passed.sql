-- setback_passed: members that went through; nothing is left of what kept them.
-- $1 step, $2 members.
delete from postmeter.setback s where s.step = $1 and s.member = any ($2)
