-- health_partitions: whether each partitioned table has its partitions for this month (or day) and the next, and none spills.
select pg_catalog.jsonb_build_object('parent', p.parent,
    'ahead', (select count(*) = 2 from pg_catalog.generate_series(0, 1) n
              where exists (select from pg_catalog.pg_class c where c.relispartition and c.oid = (pg_catalog.to_regclass(
                  'postmeter.' || p.parent || pg_catalog.to_char(
                  pg_catalog.date_trunc(p.length, p.now, 'UTC') at time zone 'UTC' + ('1 ' || p.length)::interval * n::double precision, p.named)))::oid)),
    'spilled', p.spilled)
from (values ('usage', 'month', '_YYYYMM', clock_timestamp(), exists (select from postmeter.usage_default)),
             ('allocation', 'month', '_YYYYMM', clock_timestamp(), exists (select from postmeter.allocation_default)),
             ('attempt', 'month', '_YYYYMM', clock_timestamp(), exists (select from postmeter.attempt_default)),
             ('outcome', 'month', '_YYYYMM', clock_timestamp(), exists (select from postmeter.outcome_default)),
             -- a status of a day long ago is at home in the default partition
             ('request_status', 'day', '_YYYYMMDD', postmeter.clock(), false)) p(parent, length, named, now, spilled)
