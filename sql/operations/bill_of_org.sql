-- What is this org's bill of the month, as CSV?
--
-- What the marketplace accepted for the buyers that the org's subscriptions name: one line a dimension with billing
-- units, unit price and amount, in one currency; never added up over currencies. Two orgs that buy through one
-- marketplace account have one bill: also_of names the others.
--
-- Parameters: org; month (any day of it; the running month if left out).
--   psql -X --csv -v org=acme -v month=2024-09-01 -f sql/operations/bill_of_org.sql > acme.csv
--
-- destination,month,buyer,also_of,product,dimension,hours,units,unit_price,amount,currency
-- aws,2024-09-01,aws/us-east-1/prod-db/111122223333,initech,db,core_units,2,8,0.12,0.96,USD
\if :{?month}
\else
    \set month ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- bill_of_org
with buyers as (
    select distinct s.destination_id, s.buyer, s.product, a.month
    from postmeter.subscription s
    join postmeter.destination t on t.id = s.destination_id and t.shadow_of is null
    cross join lateral (
        select coalesce(date_trunc('month', nullif(:'month', '')::date)::date,
                        postmeter.month_of(postmeter.clock(), t.zone)) as month) a
    where s.org = :'org' and s.buyer is not null
), billed as (
    select b.destination_id, b.month, b.buyer, b.product, m.dimension, count(*) as hours, sum(d.quantity) as units
    from buyers b
    join postmeter.meter m on m.destination_id = b.destination_id and m.buyer = b.buyer and m.month = b.month
    join postmeter.delivery d on d.meter_id = m.id and d.product = b.product and d.status = 'accepted'
    group by 1, 2, 3, 4, 5
    union all
    -- of a month whose remittances were dropped
    select b.destination_id, b.month, b.buyer, b.product, k.dimension, sum(x.remittances), sum(x.quantity)
    from buyers b
    join postmeter.dropped_meter k on k.destination_id = b.destination_id and k.month = b.month and k.buyer = b.buyer
    join postmeter.dropped_sum x
      on x.meter_id = k.id and x.answers = 'remittance' and x.product = b.product and x.status = 'accepted'
    group by 1, 2, 3, 4, 5
)
select t.name as destination, m.month, m.buyer,
       (select string_agg(distinct s.org, ' ' order by s.org) from postmeter.subscription s
        where s.destination_id = m.destination_id and s.buyer = m.buyer and s.org <> :'org') as also_of,
       m.product, m.dimension, sum(m.hours)::bigint as hours,
       trim_scale(sum(m.units)) as units, trim_scale(p.unit_price) as unit_price,
       trim_scale(sum(m.units) * p.unit_price) as amount, coalesce(p.currency, 'unpriced') as currency
from billed m
join postmeter.destination t on t.id = m.destination_id
left join lateral (
    select x.unit_price, x.currency from postmeter.dimension x
    where x.destination_id = m.destination_id and x.name = m.dimension and x.product = m.product
      and x.valid_from <= m.month
    order by x.valid_from desc, x.id limit 1
) p on true
group by t.name, m.destination_id, m.month, m.buyer, m.product, m.dimension, p.unit_price, p.currency
order by t.name, m.buyer, m.product, m.dimension;
commit;
