-- How did this meter come to what it billed, step by step?
--
-- Every cut in order: usage of the hour, what the month had used by then (units: billing units x denominator), what was
-- billed before and added by this cut, and what was carried on. A released remittance gave its billing units back. The
-- last line is the meter as it stands. It closes if carried there is that of the last cut plus what was released.
--
-- Parameters: meter (its number, see meter_list), or delivery (a remittance of it).
--   psql -v delivery=1 -f sql/operations/balance_step_by_step.sql
--
--         at        | remittance |      hour      |  status  | used | units | denominator | billed_before | billed | …
-- ------------------+------------+----------------+----------+------+-------+-------------+---------------+--------+ …
--  2024-09-18 10:10 |          1 | 2024-09-18 09h | accepted |   24 |    24 |           4 |             0 |      6 | …
--  2024-09-18 11:10 |          3 | 2024-09-18 10h | due      |   20 |    44 |           4 |             6 |      5 | …
--  2024-09-18 12:10 |          9 | 2024-09-18 11h | accepted |    8 |    52 |           4 |            11 |      2 | …
--  2024-09-18 13:10 |         10 | 2024-09-18 12h | due      |    2 |    54 |           4 |            13 |      1 | …
--  now              |            | the meter      |          |   54 |       |           4 |               |     14 | …
\if :{?meter}
\else
    \set meter ''
\endif
\if :{?delivery}
\else
    \set delivery ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- balance_step_by_step
with asked as (
    select coalesce(nullif(:'meter', '')::bigint, d.meter_id) as meter_id
    from (select) one left join postmeter.delivery d on d.id = nullif(:'delivery', '')::bigint
), step as (
    select c.cut_at, c.delivery_id, c.round, d.hour, d.status, c.denominator, c.units, c.billed_before, c.to_bill,
           c.carried,
           (select sum(a.quantity) from postmeter.allocation a
            join postmeter.meter_metric mm on mm.id = a.meter_metric_id and mm.meter_id = c.meter_id
            where a.delivery_id = c.delivery_id and a.round = c.round) as used
    from asked k
    join postmeter.cut c on c.meter_id = k.meter_id
    join postmeter.delivery d on d.id = c.delivery_id
), listed as (
    select 0 as last, s.cut_at, s.round, to_char(s.cut_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as at,
           s.delivery_id as remittance,
           to_char(s.hour at time zone 'UTC', 'YYYY-MM-DD HH24"h"') as hour, s.status, s.used, s.units, s.denominator,
           s.billed_before, s.to_bill as billed, s.carried
    from step s
    union all
    select 1, null, null, 'now', null, 'the meter', null,
           (select sum(mm.used) from postmeter.meter_metric mm where mm.meter_id = m.id), null, m.denominator, null,
           m.billed, m.carried
    from asked k
    join postmeter.meter m on m.id = k.meter_id
)
select l.at, l.remittance, l.hour, l.status, trim_scale(l.used) as used, trim_scale(l.units) as units, l.denominator,
       trim_scale(l.billed_before) as billed_before, trim_scale(l.billed) as billed, trim_scale(l.carried) as carried
from listed l
order by l.last, l.cut_at, l.remittance, l.round;
commit;
