-- track_batch: records what services say about requests, for a door of our own; a verdict per item.
-- $1 a JSON array of objects with the parameters of postmeter.track.
select verdict, error_code, field, message from postmeter.track_batch($1)
