-- cure_done: all held usage was looked at since then.
-- $1 the last mark that was there before.
delete from postmeter.cure c where c.id <= $1
