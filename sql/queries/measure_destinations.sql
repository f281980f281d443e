-- measure_destinations: how each live destination is: breaker, pause, the earliest deadline of what is due there, and
-- its months that are over and not closed. Relies on due_by_deadline and meter_month.
with recursive months as (
    -- each month once, without walking over its meters
    select pg_catalog.min(m.month) as month from postmeter.meter m
    union all
    select (select pg_catalog.min(m.month) from postmeter.meter m where m.month > x.month) from months x where x.month is not null
)
select pg_catalog.jsonb_build_object('destination', t.name, 'is_paused', t.paused, 'is_open', b.destination_id is not null and b.ramp is null,
    'deadline_seconds', extract(epoch from least(
        (select pg_catalog.min(q.deadline) from postmeter.due q where q.destination_id = t.id),
        (select pg_catalog.min(d.deadline) from postmeter.later l join postmeter.delivery d on d.id = l.delivery_id
         where l.destination_id = t.id)) - postmeter.clock()),
    'months_open', (select count(*) from months x
        where x.month < postmeter.month_of(postmeter.clock(), t.zone)
          and exists (select from postmeter.meter m where m.month = x.month and m.destination_id = t.id)
          and not exists (select from postmeter.closed_month c where c.destination_id = t.id and c.month = x.month)))
from postmeter.destination t
left join postmeter.breaker b on b.destination_id = t.id
where t.shadow_of is null
