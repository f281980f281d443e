-- What was billed too much this month, and is still not used up?
--
-- Credit: corrections came after their usage had been billed. Later usage of the same month uses it up by itself; what
-- is left when the month is over has to be credited to the customer by hand: nothing negative is ever sent.
--
-- Parameters: month (any day of it; the running month of UTC if left out).
--   psql -v month=2024-09-01 -f sql/operations/over_billed.sql
--
--  destination |   month    |          buyer           |  orgs  | dimension | units |  amount  | month_closed
-- -------------+------------+--------------------------+--------+-----------+-------+----------+--------------
--  aws         | 2024-09-01 | aws/us-east-1/prod-db/11 | {acme} | cores     |     2 | 0.24 USD | f
\if :{?month}
\else
    \set month ''
\endif
-- over_billed
select v.destination, v.month, v.buyer,
       array(select distinct s.org from postmeter.subscription s join postmeter.meter m on m.id = v.meter_id
             where s.destination_id = m.destination_id and s.buyer = m.buyer order by s.org) as orgs,
       v.dimension, v.quantity as units, coalesce(v.amount || ' ' || v.currency, 'unpriced') as amount,
       v.closed as month_closed
from postmeter.month_close v
where v.class = 'over_billed' and not v.shadow
  and v.month = coalesce(date_trunc('month', nullif(:'month', '')::date)::date,
                         postmeter.month_of(postmeter.clock(), 'UTC'))
order by v.destination, v.buyer, v.dimension;
