-- What did this org's month come to?
--
-- Per metric and status: how many remittances, the usage in them (units of the metric), what they bill (billing units
-- and amount). shared: other orgs, accounts or metrics are in the same remittances, and billing units are theirs, too.
-- Then what is not in any remittance (waiting, held, exempt, given up).
--
-- Parameters: org; month (any day of it; the running month of UTC if left out).
--   psql -v org=acme -v month=2024-09-01 -f sql/operations/month_of_org.sql
--
--  destination | product | metric  |  status   | shared | remittances | usages | used | units |  amount
-- -------------+---------+---------+-----------+--------+-------------+--------+------+-------+----------
--  aws         | db      | cores   | accepted  | f      |           1 |      1 |    8 |     2 | 0.24 USD
--  aws         | db      | cores   | accepted  | t      |           1 |      3 |   23 |     6 | 0.72 USD
--  aws         | db      | cores   | due       | f      |           2 |      2 |   22 |     6 | 0.72 USD
--  aws         | db      | cores   | open      | f      |           1 |      1 |    6 |       |
--  aws         | db      | gb      | conflict  | f      |           1 |      1 |    3 |     3 | 1.5 EUR
--  aws         | db      | sockets | in_flight | f      |           1 |      1 |    5 |     5 | unpriced
--              | db      | cores   | waiting   |        |             |      1 |    4 |       |
\if :{?month}
\else
    \set month ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
set local jit = off; -- compiling it would take longer than answering it
-- month_of_org
with asked as (
    select coalesce(date_trunc('month', nullif(:'month', '')::date)::date,
                         postmeter.month_of(postmeter.clock(), 'UTC')) as month
)
select v.destination, v.product, v.metric, v.status, v.shared, v.remittances, v.usages, v.used, v.quantity as units,
       case when v.currency is null then 'unpriced' else v.amount || ' ' || v.currency end as amount
from postmeter.remittance_summary v
where v.org = :'org' and v.month = (select a.month from asked a) and not v.shadow
union all
select e.destination, e.product, e.metric, concat_ws(': ', e.whereabouts, e.reason), null, null, count(*),
       trim_scale(sum(e.quantity)), null, null
from postmeter.usage_explained e
where e.org = :'org' and e.whereabouts <> 'allocated'
  and e.hour >= (select a.month::timestamp at time zone 'UTC' from asked a)
  and e.hour < (select (a.month + interval '1 month')::timestamp at time zone 'UTC' from asked a)
group by 1, 2, 3, 4
order by 1 nulls last, 2, 3, 4, 5;
commit;
