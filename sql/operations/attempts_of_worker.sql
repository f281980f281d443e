-- What did this worker do?
--
-- Its attempts, the newest first: what it sent, when, what was answered. open: the call is under way, or it died with
-- it. Attempts of one call share the call's id.
--
-- Parameters: worker (its name, or its id); most (how many; 100 if left out).
--   psql -v worker=worker-1 -f sql/operations/attempts_of_worker.sql
--
--   worker  |       claimed_at       | destination | remittance | number |   outcome   |              code …
-- ----------+------------------------+-------------+------------+--------+-------------+---------------------------- …
--  worker-1 | 2024-09-18 12:10:00+00 | aws         |          9 |      1 | accepted    | …
--  worker-1 | 2024-09-18 12:10:00+00 | aws         |          8 |      1 | accepted    | …
--  worker-1 | 2024-09-18 12:10:00+00 | aws         |          6 |      2 | open        | …
--  worker-1 | 2024-09-18 12:10:00+00 | aws         |          5 |      2 | open        | …
--  worker-1 | 2024-09-18 11:10:00+00 | aws         |          7 |      1 | rejected    | InvalidUsageDimensionExcept …
--  worker-1 | 2024-09-18 11:10:00+00 | aws         |          6 |      1 | rejected    | InvalidUsageDimensionExcept …
--  worker-1 | 2024-09-18 11:10:00+00 | aws         |          5 |      1 | handed_back | …
--  …
\if :{?most}
\else
    \set most 100
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- attempts_of_worker
select w.name as worker, l.claimed_at, l.destination, l.delivery_id as remittance, l.number, l.outcome, l.code,
       l.http_status, round(extract(epoch from l.duration) * 1000) || ' ms' as took, l.call_id as call
from postmeter.worker w
cross join lateral (
    -- attempt_by_worker; the names come after the limit
    select a.id from postmeter.attempt a where a.worker_id = w.id order by a.id desc limit :'most'::integer
) n
join postmeter.attempt_ledger l on l.attempt_id = n.id
where w.name = :'worker' or w.id::text = :'worker'
order by l.claimed_at desc, l.delivery_id desc
limit :'most'::integer;
commit;
