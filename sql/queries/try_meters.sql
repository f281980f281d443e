-- try_meters: locks those of the meters that nobody else holds, in order of their numbers.
-- $1 meters.
select m.id from postmeter.meter m where m.id = any ($1) order by m.id for update skip locked
