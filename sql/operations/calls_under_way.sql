-- Which calls are under way, or were left behind?
--
-- Attempts without an outcome: a call may be under way, or its worker died. alive: the worker's lease holds; the age is
-- real time. What a dead worker left is taken over within a lease and settled as unknown: older than that, something is
-- wrong with the workers that are left (`postmeter doctor`).
--
-- Parameters: none.
--   psql -f sql/operations/calls_under_way.sql
--
--  destination | remittance | number |       claimed_at       |   age    |  worker  | alive | call
-- -------------+------------+--------+------------------------+----------+----------+-------+------
--  aws         |          9 |      1 | 2024-09-18 11:30:00+00 | 00:00:02 | worker-1 | t     | …
-- calls_under_way
select t.name as destination, a.delivery_id as remittance, a.number, a.claimed_at,
       -- when its id was made, in real time
       date_trunc('second', clock_timestamp() - to_timestamp(
           ('x' || left(replace(a.id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)) as age,
       w.name as worker, w.reaped_at is null and w.lease_until > clock_timestamp() as alive, a.call_id as call
from postmeter.worker w
join postmeter.attempt a on a.worker_id = w.id
 and a.id >= coalesce(w.oldest_attempt, postmeter.id_at(w.started_at - interval '1 hour'))
join postmeter.destination t on t.id = a.destination_id
where not exists (select from postmeter.outcome o where o.attempt_id = a.id)
order by a.id
limit 1000;
