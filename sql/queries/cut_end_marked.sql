-- cut_end_marked: of remittances of marked buyers, which are locked alone, returns what the catalogue places elsewhere by now; tells
-- of which something was.
-- $1 remittances, $2 at most so many usages (null: all), $3 whether also what has a new identity that nobody has read yet.
select postmeter.end_marked($1, $2, $3) as delivery_id
