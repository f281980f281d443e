-- forget_processes: forgets workers and consoles that ended more than a week ago; how many.
-- $1 how many at most of each.
select postmeter.forget_processes($1)
