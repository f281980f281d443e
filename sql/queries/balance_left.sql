-- balance_left: how much of the ledger is still to be read again in this turn: meters, of how many, and the slice that usage has been
-- read up to, as a time.
select (select count(*) from postmeter.balance_anew) + case when b.meters_after is null then 0
           else (select count(*) from postmeter.meter m where m.id > b.meters_after) end as meters,
       (select count(*) from postmeter.meter) as of_meters,
       case when b.usage_after <> '' then postmeter.when_said(to_timestamp(('x' || b.usage_after)::bit(32)::bigint::pg_catalog.float8 operator(pg_catalog.*) 65.536::pg_catalog.float8)) end as usage_until
from postmeter.balance_check b
