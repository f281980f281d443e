-- What was sent for this org this month?
--
-- Everything that a marketplace holds (status accepted) for the buyers that this org's subscriptions name, hour by
-- hour, with the month's sum under each dimension. confirmed: no = they recognised the key but did not show the
-- quantity. Two orgs that buy through one marketplace account are billed together and show the same rows.
--
-- Parameters: org; month (any day of it; the running month if left out).
--   psql -v org=acme -f sql/operations/sent_this_month.sql
--   psql -v org=acme -v month=2024-09-01 -f sql/operations/sent_this_month.sql
--
--  destination | product | dimension  |          hour          | remittances | units | confirmed |  amount
-- -------------+---------+------------+------------------------+-------------+-------+-----------+----------
--  aws         | db      | core_units | 2024-09-18 09:00:00+00 |           1 |     6 | yes       | 0.72 USD
--  aws         | db      | core_units | 2024-09-18 11:00:00+00 |           1 |     2 | yes       | 0.24 USD
--  aws         | db      | core_units | the month              |           2 |     8 | yes       | 0.96 USD
\if :{?month}
\else
    \set month ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- sent_this_month
select r.destination, r.product, r.dimension, coalesce(r.hour::text, 'the month') as hour, count(*) as remittances,
       trim_scale(sum(r.quantity)) as units, case when bool_and(r.confirmed) then 'yes' else 'no' end as confirmed,
       coalesce(trim_scale(sum(r.amount)) || ' ' || r.currency, 'unpriced') as amount
from postmeter.remittance r
join postmeter.destination t on t.name = r.destination
where r.status = 'accepted'
  and r.month = coalesce(date_trunc('month', nullif(:'month', '')::date)::date,
                         postmeter.month_of(postmeter.clock(), t.zone))
  -- by buyer and not by allocation: quantity that a decision released is billed by an hour without usage of its own
  and exists (select from postmeter.subscription s
              where s.org = :'org' and s.product = r.product and s.destination_id = t.id and s.buyer = r.buyer)
group by grouping sets ((r.destination, r.product, r.dimension, r.currency, r.hour),
                        (r.destination, r.product, r.dimension, r.currency))
order by r.destination, r.product, r.dimension, r.hour nulls last;
commit;
