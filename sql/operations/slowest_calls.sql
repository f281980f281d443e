-- Which calls were the slowest?
--
-- One row a call (a call may carry many remittances), by destination, of the last hour or since a time. Calls without
-- an outcome are not among them: see calls_under_way. Times are the server's, not postmeter.clock().
--
-- Parameters: since (a time; an hour ago if left out); most (how many; 20 if left out).
--   psql -f sql/operations/slowest_calls.sql
--
--  destination |  took  | remittances |                 outcomes                 |  code   | http_status |       cla …
-- -------------+--------+-------------+------------------------------------------+---------+-------------+---------- …
--  aws         | 109 ms |           2 | accepted                                 |         |         200 | 2024-09-1 …
--  aws         | 107 ms |           5 | conflict, handed_back, rejected, unknown | timeout |         400 | 2024-09-1 …
--  aws         | 102 ms |           2 | accepted                                 |         |         200 | 2024-09-1 …
\if :{?since}
\else
    \set since ''
\endif
\if :{?most}
\else
    \set most 20
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
set local jit = off; -- compiling it would take longer than answering it
-- slowest_calls
-- the time is written out twice and not selected once, so that the planner knows how little it is
with call as (
    select a.call_id, a.destination_id, max(o.duration) as duration, count(*) as remittances,
           string_agg(distinct o.outcome, ', ' order by o.outcome) as outcomes, max(o.code) as code,
           max(o.http_status) as http_status, min(a.claimed_at) as claimed_at,
           max(o.their_request_id) as their_request_id
    from postmeter.attempt a
    join postmeter.outcome o on o.attempt_id = a.id
     and o.attempt_id >= postmeter.id_at(coalesce(nullif(:'since', '')::timestamptz,
                                                 statement_timestamp() - interval '1 hour'))
    where a.id >= postmeter.id_at(coalesce(nullif(:'since', '')::timestamptz,
                                                 statement_timestamp() - interval '1 hour'))
    group by a.call_id, a.destination_id
    order by duration desc nulls last
    limit :'most'::integer
)
select t.name as destination, round(extract(epoch from c.duration) * 1000) || ' ms' as took, c.remittances, c.outcomes,
       c.code, c.http_status, c.claimed_at, c.their_request_id, c.call_id as call
from call c
join postmeter.destination t on t.id = c.destination_id
order by c.duration desc nulls last, c.claimed_at;
commit;
