-- reconcile_contradict: notes what the latest answer about a day contradicts. $1 name of the destination, $2 day, $3 who asked.
select postmeter.note_day_contradictions($1, $2::text::date, $3)
