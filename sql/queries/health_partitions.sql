-- health_partitions: whether each partitioned table has its partitions for this month (or day) and the next, and none spills.
select jsonb_build_object('parent', p.parent,
    'ahead', (select count(*) = 2 from generate_series(0, 1) n
              where to_regclass('postmeter.' || p.parent || to_char(
                  date_trunc(p.length, p.now, 'UTC') at time zone 'UTC' + n * ('1 ' || p.length)::interval, p.named)) is not null),
    'spilled', p.spilled)
from (values ('usage', 'month', '_YYYYMM', clock_timestamp(), exists (select from postmeter.usage_default)),
             ('allocation', 'month', '_YYYYMM', clock_timestamp(), exists (select from postmeter.allocation_default)),
             ('attempt', 'month', '_YYYYMM', clock_timestamp(), exists (select from postmeter.attempt_default)),
             ('outcome', 'month', '_YYYYMM', clock_timestamp(), exists (select from postmeter.outcome_default)),
             -- a status of a day long ago is at home in the default partition
             ('request_status', 'day', '_YYYYMMDD', postmeter.clock(), false)) p(parent, length, named, now, spilled)
