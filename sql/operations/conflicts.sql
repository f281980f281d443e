-- Which remittances are in conflict, with both quantities?
--
-- They hold another quantity than we sent under the same key, or do not say which. difference is theirs less ours, in
-- billing units. Nothing is sent for these until a person resolves them or writes them off
-- (docs/operate/corrections.md).
--
-- Parameters: destination (all if left out).
--   psql -f sql/operations/conflicts.sql
--
--  remittance | destination |  orgs  | dimension |          hour          | ours | theirs | difference |         sin …
-- ------------+-------------+--------+-----------+------------------------+------+--------+------------+------------ …
--           4 | aws         | {acme} | gb        | 2024-09-18 10:00:00+00 |    3 |      2 |         -1 | 2024-09-18 …
\if :{?destination}
\else
    \set destination ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- conflicts
select r.delivery_id as remittance, r.destination, r.orgs, r.dimension, r.hour, trim_scale(r.quantity) as ours,
       trim_scale(r.shown_quantity) as theirs, trim_scale(r.shown_quantity - r.quantity) as difference, s.since,
       r.deadline, r.key
from postmeter.stuck s
join postmeter.remittance r on r.delivery_id = s.delivery_id
where s.status = 'conflict' and r.destination = coalesce(nullif(:'destination', ''), r.destination)
order by s.since, r.delivery_id;
commit;
