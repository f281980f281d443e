-- What was received and never finished?
--
-- Requests of which some service has begun and not finished, and nobody said anything for
-- setting.tracker_unfinished_after; the longest silence first.
--
-- Parameters: none.
--   psql -f sql/operations/unfinished_requests.sql
--
--  request_id | org  | open_services | statuses |       last_date        | silent_for
-- ------------+------+---------------+----------+------------------------+------------
--  req-4711   | acme | {ingress}     |        1 | 2024-09-18 09:30:00+00 | 23:30:00
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- unfinished_requests
select request_id, org, open_services, statuses, last_date, silent_for
from postmeter.unfinished_request
order by silent_for desc, request_id
limit 1000;
commit;
