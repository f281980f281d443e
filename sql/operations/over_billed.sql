-- What was billed too much this month, and is still not used up?
--
-- Credit: corrections came after their usage had been billed. Later usage of the same month uses it up by itself; what
-- is left when the month is over has to be credited to the customer by hand: nothing negative is ever sent.
--
-- Parameters: month (any day of it; the running month of UTC if left out).
--   psql -v month=2024-09-01 -f sql/operations/over_billed.sql
--
--  destination |   month    |               buyer                |   orgs   | dimension | units | amount | month_clo …
-- -------------+------------+------------------------------------+----------+-----------+-------+--------+---------- …
--  aws         | 2024-09-01 | aws/us-east-1/prod-db/444455556666 | {globex} | gb        |     2 | 1 EUR  | f
\if :{?month}
\else
    \set month ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- over_billed
with credit as (
    -- what is billed less what rounding the usage gives, as in view month_close
    select m.id, m.destination_id, m.buyer, m.dimension, m.month,
           m.billed - postmeter.round_units(m.carried + m.billed * m.denominator, m.denominator,
               case when m.month_end = 'round_up' then 'up' else m.rounding end, m.decimals) as units, m.product
    from (select x.id, x.destination_id, x.buyer, x.dimension, x.month, x.billed, x.carried, x.denominator, x.month_end,
                 x.rounding, x.decimals,
                 (select min(mm.product) from postmeter.meter_metric mm where mm.meter_id = x.id) as product
          from postmeter.meter x
          union all
          select x.id, x.destination_id, x.buyer, x.dimension, x.month, x.billed, x.carried, x.denominator, x.month_end,
                 x.rounding, x.decimals, x.product
          from postmeter.dropped_meter x) m
    where m.carried < 0 and m.month = coalesce(date_trunc('month', nullif(:'month', '')::date)::date,
                                               postmeter.month_of(postmeter.clock(), 'UTC'))
)
select t.name as destination, c.month, c.buyer,
       array(select distinct s.org from postmeter.contract_subscriptions(c.destination_id, c.buyer, c.month) b
             join postmeter.subscription s on s.id = b.subscription_id order by s.org) as orgs,
       c.dimension, trim_scale(c.units) as units,
       case when p.currency is null then 'unpriced'
            else trim_scale(c.units * p.unit_price) || ' ' || p.currency end as amount,
       exists (select from postmeter.closed_month x
               where x.destination_id = c.destination_id and x.month = c.month) as month_closed
from credit c
join postmeter.destination t on t.id = c.destination_id and t.shadow_of is null
left join lateral (
    select x.unit_price, x.currency from postmeter.dimension x
    where x.destination_id = c.destination_id and x.name = c.dimension and x.valid_from <= c.month
      and x.product = c.product
    order by x.valid_from desc, x.id limit 1
) p on true
where c.units > 0
order by t.name, c.buyer, c.dimension;
commit;
