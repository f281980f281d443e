-- setback_forget: what nobody has tried for a quarter of an hour is no candidate any more: a candidate is tried every five
-- minutes at least. After a minute, where the step has nothing to do with it any more.
-- $1 step.
with over as materialized (
    select s.step, s.member from postmeter.setback s
    where s.step = $1 and greatest(s.last_at, s.next_at) < clock_timestamp() - interval '1 minute'
      and (greatest(s.last_at, s.next_at) < clock_timestamp() - interval '15 minutes'
           or s.member in (select postmeter.setbacks_over($1)))
    order by s.step, s.member
    for update
)
delete from postmeter.setback s using over o where s.step = o.step and s.member = o.member
