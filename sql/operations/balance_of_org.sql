-- Does the balance of this org close this month, and what is it made of?
--
-- A row per meter of the contracts to which the org's subscriptions belong, in billing units: what was recorded, where
-- it is, and the difference, which is zero. Two orgs that buy through one marketplace account share their meters.
--
-- Parameters: org; month (any day of it; the running month if left out).
--   psql -v org=acme -v month=2024-09-01 -f sql/operations/balance_of_org.sql
--
--  destination | dimension  | meter | recorded | open | due | accepted | unknown | dead | given_up | covered | carri …
-- -------------+------------+-------+----------+------+-----+----------+---------+------+----------+---------+------ …
--  aws         | core_units |     1 |       15 |  1.5 |   6 |        8 |       0 |    0 |        0 |       0 |    -0 …
--  aws         | gb         |     3 |        3 |    0 |   0 |        2 |       0 |    1 |        0 |       0 | …
--  aws         | sockets    |     4 |        5 |    0 |   5 |        0 |       0 |    0 |        0 |       0 | …
\if :{?month}
\else
    \set month ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- balance_of_org
with meters as (
    select distinct m.id
    from postmeter.subscription s
    join postmeter.destination t on t.id = s.destination_id
    cross join lateral (
        select coalesce(date_trunc('month', nullif(:'month', '')::date)::date,
                        postmeter.month_of(postmeter.clock(), t.zone)) as month) a
    left join postmeter.contract_member k on k.subscription_id = s.id and k.month = a.month
    join (select x.id, x.destination_id, x.month, x.buyer from postmeter.meter x
          union all select x.id, x.destination_id, x.month, x.buyer from postmeter.dropped_meter x) m
      on m.destination_id = s.destination_id and m.month = a.month
     and m.buyer = coalesce(k.contract, postmeter.contract_name(s.product, s.contract), s.buyer)
    where s.org = :'org' and s.buyer is not null
)
select b.destination, b.dimension, b.meter_id as meter, trim_scale(round(b.recorded / b.denominator, 15)) as recorded,
       trim_scale(round(b.open / b.denominator, 15)) as open, trim_scale(b.due / b.denominator) as due,
       trim_scale(b.accepted / b.denominator) as accepted, trim_scale(b.unknown / b.denominator) as unknown,
       trim_scale((b.held + b.rejected + b.expired + b.conflict) / b.denominator) as dead,
       trim_scale((b.written_off + b.dry_run) / b.denominator) as given_up,
       trim_scale(round(b.covered / b.denominator, 15)) as covered,
       trim_scale(round(b.carried / b.denominator, 15)) as carried,
       b.difference
from meters k
-- offset 0: the view is asked for one meter at a time, not for all at once
cross join lateral (select v.* from postmeter.balance v where v.meter_id = k.id offset 0) b
order by 1, 2;
commit;
