-- Which hours of this buyer are cut and not sent?
--
-- Remittances of the buyers that an org's subscriptions name (or of one buyer) that are frozen and not accepted: where
-- they stand, how long they still can be sent, and what was answered last. The most urgent first. Hours that still
-- collect usage (open) and hours with nothing to send are not listed.
--
-- Parameters: org or buyer (canonical text).
--   psql -v org=acme -f sql/operations/hours_not_sent.sql
--
--  remittance | destination | dimension  |          hour          | units |  status   | reason | maybe_billed | …
-- ------------+-------------+------------+------------------------+-------+-----------+--------+--------------+----- …
--           3 | aws         | core_units | 2024-09-18 10:00:00+00 |     5 | due       |        | t            | 2024 …
--           4 | aws         | gb         | 2024-09-18 10:00:00+00 |     3 | conflict  |        | f            | 2024 …
--           5 | aws         | sockets    | 2024-09-18 10:00:00+00 |     5 | in_flight |        | f            | 2024 …
--          10 | aws         | core_units | 2024-09-18 12:00:00+00 |     1 | due       |        | f            | 2024 …
\if :{?org}
\else
    \set org ''
\endif
\if :{?buyer}
\else
    \set buyer ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- hours_not_sent
with buyers as (
    select distinct s.destination_id, s.buyer from postmeter.subscription s
    where s.buyer is not null and (s.org = nullif(:'org', '') or s.buyer = nullif(:'buyer', ''))
)
select d.id as remittance, t.name as destination, m.dimension, d.hour, trim_scale(d.quantity) as units, d.status,
       d.reason, d.maybe_billed, d.deadline, d.tries, l.due_at as next_try_at,
       x.outcome as last_outcome, x.code as last_code
from buyers b
join postmeter.destination t on t.id = b.destination_id and t.shadow_of is null
join postmeter.meter m on m.destination_id = b.destination_id and m.buyer = b.buyer
join postmeter.delivery d on d.meter_id = m.id
left join postmeter.later l on l.delivery_id = d.id
left join lateral (
    select o.outcome, o.code from postmeter.attempt a join postmeter.outcome o on o.attempt_id = a.id
    where a.delivery_id = d.id order by a.number desc limit 1
) x on true
where d.status not in ('open', 'nothing_due', 'accepted', 'released', 'written_off', 'dry_run')
order by d.deadline, d.id;
commit;
