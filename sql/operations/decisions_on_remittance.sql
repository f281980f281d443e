-- What did people decide about this remittance?
--
-- Decisions on it, and those that sent quantity of others to it, in order.
--
-- Parameters: delivery (its number) or key.
--   psql -v delivery=6 -f sql/operations/decisions_on_remittance.sql
--
--        decided_at       | who  |   role   | verb  | remittance | before → after | units | to_remittance | …
-- ------------------------+------+----------+-------+------------+----------------+-------+---------------+--------- …
--  2024-09-18 11:30:00+00 | mira | postgres | retry |          6 | rejected → due |     2 |               | dimensio …
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
-- decisions_on_remittance
with asked as (
    select d.id from postmeter.delivery d where d.id = nullif(:'delivery', '')::bigint
    union
    select d.id from postmeter.delivery d
    where d.destination_id = any (array(select t.id from postmeter.destination t)) and d.key = nullif(:'key', '')
), chosen as (
    select c.id from postmeter.decision c where c.delivery_id = any (array(select a.id from asked a))
    union
    select c.id from postmeter.decision c where c.target_delivery_id = any (array(select a.id from asked a))
)
select c.decided_at, c.who, c.role_name as role, c.verb, c.delivery_id as remittance,
       c.status_before || ' → ' || c.status_after as "before → after", trim_scale(c.quantity) as units,
       c.target_delivery_id as to_remittance, c.why
from postmeter.decision_log c
where c.id = any (array(select x.id from chosen x))
order by c.id;
commit;
