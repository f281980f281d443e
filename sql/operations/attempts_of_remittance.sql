-- Every attempt of this remittance, with what they answered?
--
-- The ledger of one remittance in order, and what came late from workers that had lost their claim (no number). open: a
-- call may be under way, or its worker died. is_try: it counts against the retry policy. Their request id is what their
-- support asks for.
--
-- Parameters: delivery (its number) or key.
--   psql -v delivery=1 -f sql/operations/attempts_of_remittance.sql
--   psql -v key=us-east-1/p/111122223333/core_units/2024-09-18T10:00:00Z -f sql/operations/attempts_of_remittance.sql
--
--  number |       claimed_at       | outcome  | code | is_try | units | shown | http_status | their_request_id |  re …
-- --------+------------------------+----------+------+--------+-------+-------+-------------+------------------+---- …
--       1 | 2024-09-18 10:10:00+00 | accepted |      | t      |     6 |       |         200 | req-1            | rec …
\if :{?delivery}
\else
    \set delivery ''
\endif
\if :{?key}
\else
    \set key ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- attempts_of_remittance
with asked as (
    select d.id from postmeter.delivery d where d.id = nullif(:'delivery', '')::bigint
    union
    select d.id from postmeter.delivery d
    where d.destination_id = any (array(select t.id from postmeter.destination t)) and d.key = nullif(:'key', '')
)
select l.number, l.claimed_at, l.outcome, l.code, l.is_try, l.quantity as units,
       l.shown_quantity as shown, l.http_status, l.their_request_id, l.receipt,
       round(extract(epoch from l.duration) * 1000) || ' ms' as took, l.excerpt
from asked a
join postmeter.attempt_ledger l on l.delivery_id = a.id
union all
select null, e.recorded_at, 'late: ' || e.outcome, e.code, null, null, e.shown_quantity, e.http_status,
       e.their_request_id, e.receipt, null, e.excerpt
from asked a
join postmeter.late_evidence e on e.delivery_id = a.id
order by 2, 1;
commit;
