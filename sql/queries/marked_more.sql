-- marked_more: puts down marks of which something is left to return.
-- $1 marks.
update postmeter.catalogue_mark c set next_at = clock_timestamp(), awaits = null where c.id = any ($1)
