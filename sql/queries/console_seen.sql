-- console_seen: a console says that it lives, or that it stops.
-- $1 id, $2 name, $3 version, $4 whether it stops.
select postmeter.console_seen($1, $2, $3, $4)
