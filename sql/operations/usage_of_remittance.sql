-- Which usage made up this remittance?
--
-- Every usage that it counts, with its own hour where that is another (late usage). What it billed also depends on the
-- month so far: see `postmeter explain --delivery N` or table postmeter.cut.
--
-- Parameters: delivery (its number).
--   psql -v delivery=1 -f sql/operations/usage_of_remittance.sql
--
--  source  | event_id |   org   | product | metric | quantity | factor |        used_at         | late_of | subscrip …
-- ---------+----------+---------+---------+--------+----------+--------+------------------------+---------+--------- …
--  billing | e1       | acme    | db      | cores  |       10 | 1/4    | 2024-09-18 09:10:00+00 |         | …
--  billing | e2       | acme    | db      | cores  |        6 | 1/4    | 2024-09-18 09:10:00+00 |         | …
--  billing | e3       | acme    | db      | cores  |        7 | 1/4    | 2024-09-18 09:10:00+00 |         | …
--  billing | i1       | initech | db      | cores  |        1 | 1/4    | 2024-09-18 09:10:00+00 |         | …
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- usage_of_remittance
select u.source, u.event_id, u.org, u.product, u.metric, trim_scale(u.quantity) as quantity,
       mm.factor_numerator || '/' || mm.factor_denominator as factor, u.used_at,
       case when a.hour <> d.hour then a.hour end as late_of, a.subscription_id as subscription
from postmeter.allocation a
join postmeter.delivery d on d.id = a.delivery_id
join postmeter.usage u on u.id = a.usage_id
join postmeter.meter_metric mm on mm.id = a.meter_metric_id
where a.delivery_id = :'delivery'::bigint
order by u.used_at, u.id;
commit;
