-- Which remittances may have been billed, and for how long has nobody known?
--
-- The oldest first. A call was made and its answer is not known: they are sent again with the same key while the
-- marketplace remembers it (memory; empty: as long as it takes the hour), else they wait for a person. memory_left
-- below zero: sending again would bill twice, so only a look at the marketplace helps, then `postmeter resolve`.
--
-- Parameters: none.
--   psql -f sql/operations/unknowns_by_age.sql
--
--  remittance | destination | dimension  |          hour          | units | status |   age    | memory_left | attemp …
-- ------------+-------------+------------+------------------------+-------+--------+----------+-------------+------- …
--           3 | aws         | core_units | 2024-09-18 10:00:00+00 |     5 | due    | 21:50:00 |             | …
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
set local jit = off; -- compiling it would take longer than answering it
-- unknowns_by_age
with waiting as (
    select s.delivery_id from postmeter.stuck s
    union select q.delivery_id from postmeter.due q
    union select l.delivery_id from postmeter.later l
    union
    -- a call is under way
    select a.delivery_id from postmeter.open_attempts() a
)
select d.id as remittance, t.name as destination, m.dimension, d.hour, trim_scale(d.quantity) as units, d.status,
       postmeter.clock() - d.maybe_since as age, d.maybe_since + t.memory - postmeter.clock() as memory_left,
       d.attempts, x.code as last_code, d.deadline
from waiting w
join postmeter.delivery d on d.id = w.delivery_id and d.maybe_billed
join postmeter.destination t on t.id = d.destination_id
join postmeter.meter m on m.id = d.meter_id
left join lateral (
    select o.code from postmeter.attempt a join postmeter.outcome o on o.attempt_id = a.id
    where a.delivery_id = d.id order by a.number desc limit 1
) x on true
order by d.maybe_since, d.id;
commit;
