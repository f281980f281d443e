-- How much waits, by how much time it has left?
--
-- Remittances that are due now or later, by destination and time to their deadline. passed: too late for its own hour.
-- One line a class; an empty class is left out.
--
-- Parameters: none.
--   psql -f sql/operations/queue_by_deadline.sql
--
--  destination | time_left | due | later |     first_deadline
-- -------------+-----------+-----+-------+------------------------
--  aws         | < 1 hour  |   0 |     1 | 2024-09-19 09:50:00+00
--  aws         | < 6 hours |   1 |     0 | 2024-09-19 11:50:00+00
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- queue_by_deadline
with now as materialized (
    select postmeter.clock() as now
), waiting as (
    select q.destination_id, q.deadline, true as is_due from postmeter.due q
    union all
    select l.destination_id, d.deadline, false from postmeter.later l join postmeter.delivery d on d.id = l.delivery_id
), classed as (
    select w.destination_id, w.deadline, w.is_due, case
               when w.deadline < n.now then 0 when w.deadline < n.now + interval '15 minutes' then 1
               when w.deadline < n.now + interval '1 hour' then 2 when w.deadline < n.now + interval '6 hours' then 3
               when w.deadline < n.now + interval '1 day' then 4 else 5 end as class
    from waiting w, now n
)
select t.name as destination,
       (array['passed', '< 15 minutes', '< 1 hour', '< 6 hours', '< 1 day', 'more'])[c.class + 1] as time_left,
       count(*) filter (where c.is_due) as due, count(*) filter (where not c.is_due) as later,
       min(c.deadline) as first_deadline
from classed c
join postmeter.destination t on t.id = c.destination_id
group by t.name, c.class
order by t.name, c.class;
commit;
