-- setback_forget: what nobody has tried for a quarter of an hour is no candidate any more: a candidate is tried every five
-- minutes at least.
delete from postmeter.setback s where greatest(s.last_at, s.next_at) < clock_timestamp() - interval '15 minutes'
