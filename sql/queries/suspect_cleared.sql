-- suspect_cleared: a range is suspect no more.
-- $1 range. Relies on suspect_by_range.
with entries as (
    delete from postmeter.suspect x where x.range_id = $1
)
delete from postmeter.suspect_range r where r.id = $1
