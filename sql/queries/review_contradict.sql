-- review_contradict: notes what locked deliveries' unread late evidence contradicts, before review_settle moves them.
-- $1 deliveries.
select postmeter.note_contradictions($1)
