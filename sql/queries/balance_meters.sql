-- balance_meters: meters in order of their numbers, when not all of them could be proven in one statement.
-- $1 at most so many, $2 only meters after this one.
select m.id from postmeter.meter m where m.id > $2 order by m.id limit $1
