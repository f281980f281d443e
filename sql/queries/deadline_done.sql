-- deadline_done: the deadlines of these buyers' remittances have followed.
-- $1 marks.
delete from postmeter.deadline_change c where c.id = any ($1)
