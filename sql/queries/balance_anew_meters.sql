-- balance_anew_meters: meters of which everything is to be read again, in order of their numbers.
-- $1 only meters after this one, $2 at most so many.
select w.meter_id from postmeter.balance_anew w where w.meter_id > $1 order by 1 limit $2
