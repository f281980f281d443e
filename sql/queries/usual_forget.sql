-- usual_forget: forgets what is too old for the usual, and of each week all but the largest.
-- $1 how many rows at most.
delete from postmeter.usual u
where u.id in (
    select x.id from postmeter.usual x
    where x.week < postmeter.this_week() - 28
       or exists (select from postmeter.usual y
                  where y.org = x.org and y.product = x.product and y.metric = x.metric and y.week = x.week
                    and (y.largest, y.id) > (x.largest, x.id))
    limit $1)
