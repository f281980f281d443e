-- suspect_put_behind: a suspect range that waits for another session's lock comes after the others.
-- $1 range.
update postmeter.suspect_range r set since = clock_timestamp() where r.id = $1
