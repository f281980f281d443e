-- Which calls are under way, or were left behind?
--
-- Attempts without an outcome: a call may be under way, or its worker died. alive: the worker's lease holds; the age is
-- real time. What a dead worker left is taken over within a lease and settled as unknown: older than that, something is
-- wrong with the workers that are left (`postmeter doctor`).
--
-- Parameters: none.
--   psql -f sql/operations/calls_under_way.sql
--
--  destination | remittance | number |       claimed_at       |   age    |  worker  | alive |                 call
-- -------------+------------+--------+------------------------+----------+----------+-------+----------------------- …
--  aws         |          5 |      2 | 2024-09-18 12:10:00+00 | 00:00:02 | worker-1 | t     | …
--  aws         |          6 |      2 | 2024-09-18 12:10:00+00 | 00:00:02 | worker-1 | t     | …
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- calls_under_way
select t.name as destination, a.delivery_id as remittance, a.number, a.claimed_at,
       -- when its id was made, in real time
       date_trunc('second', clock_timestamp() - to_timestamp(
           ('x' || left(replace(a.id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)) as age,
       w.name as worker, w.reaped_at is null and w.lease_until > clock_timestamp() as alive, a.call_id as call
from postmeter.open_attempts() o
join postmeter.attempt a on a.id = o.attempt_id
join postmeter.worker w on w.id = a.worker_id
join postmeter.destination t on t.id = a.destination_id
order by a.claimed_at, a.delivery_id
limit 1000;
commit;
