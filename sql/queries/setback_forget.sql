-- setback_forget: drops what is noted of members that are candidates no more: nobody has tried them since their time came.
delete from postmeter.setback s
where greatest(s.last_at, s.next_at) < clock_timestamp() - interval '15 minutes'
