-- Which errors did the marketplaces answer in the last hour?
--
-- Attempts that were not accepted, by destination, outcome and code, the most frequent first; share is of all attempts
-- at that destination in this time. Times are the server's, not postmeter.clock().
--
-- Parameters: since (a time; an hour ago if left out).
--   psql -f sql/operations/error_codes_last_hour.sql
--
--  destination |   outcome   |              code              | attempts | remittances | share |       last_seen
-- -------------+-------------+--------------------------------+----------+-------------+-------+-------------------- …
--  aws         | rejected    | InvalidUsageDimensionException |        2 |           2 | 18 %  | 2024-09-18 11:10:00 …
--  aws         | conflict    |                                |        1 |           1 | 9 %   | 2024-09-18 11:10:00 …
--  aws         | handed_back |                                |        1 |           1 | 9 %   | 2024-09-18 11:10:00 …
--  aws         | unknown     | timeout                        |        1 |           1 | 9 %   | 2024-09-18 11:10:00 …
\if :{?since}
\else
    \set since ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
set local jit = off; -- compiling it would take longer than answering it
-- error_codes_last_hour
-- the time is written out twice and not selected once, so that the planner knows how little it is
with seen as (
    select a.destination_id, coalesce(o.outcome, 'open') as outcome, o.code, count(*) as attempts,
           count(distinct a.delivery_id) as remittances, max(a.claimed_at) as last_seen
    from postmeter.attempt a
    left join postmeter.outcome o on o.attempt_id = a.id
     and o.attempt_id >= postmeter.id_at(coalesce(nullif(:'since', '')::timestamptz,
                                                 statement_timestamp() - interval '1 hour'))
    where a.id >= postmeter.id_at(coalesce(nullif(:'since', '')::timestamptz,
                                                 statement_timestamp() - interval '1 hour'))
    group by a.destination_id, o.outcome, o.code
)
select t.name as destination, s.outcome, s.code, s.attempts, s.remittances,
       round(100.0 * s.attempts / s.whole) || ' %' as share, s.last_seen
from (select s.*, sum(s.attempts) over (partition by s.destination_id) as whole from seen s) s
join postmeter.destination t on t.id = s.destination_id
where s.outcome not in ('accepted', 'dry_run', 'open')
order by s.attempts desc, t.name, s.outcome, s.code;
commit;
