-- setback_forget: what nobody has tried for a quarter of an hour is no candidate any more: a candidate is tried every five
-- minutes at least. After a minute, where the step has nothing to do with it any more.
with over as materialized (
    select s.step, s.member from postmeter.setback s
    where greatest(s.last_at, s.next_at) < clock_timestamp() - interval '1 minute'
      and (greatest(s.last_at, s.next_at) < clock_timestamp() - interval '15 minutes'
           or postmeter.setback_is_over(s.step, s.member))
    order by s.step, s.member
    for update
)
delete from postmeter.setback s using over o where s.step = o.step and s.member = o.member
