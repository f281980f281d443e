-- suspect_entries: the entries of a suspect range.
-- $1 range. Relies on suspect_by_range.
select x.shard, x.usage_id as id from postmeter.suspect x where x.range_id = $1
