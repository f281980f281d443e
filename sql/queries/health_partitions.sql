-- health_partitions: whether each partitioned table has its partitions for this month and the next, and none spills.
select jsonb_build_object('parent', p.parent,
    'ahead', (select count(*) = 2 from generate_series(0, 1) n
              where to_regclass('postmeter.' || p.parent || to_char(
                  date_trunc('month', clock_timestamp(), 'UTC') at time zone 'UTC' + n * interval '1 month', '_YYYYMM')) is not null),
    'spilled', p.spilled)
from (values ('usage', exists (select from postmeter.usage_default)),
             ('allocation', exists (select from postmeter.allocation_default)),
             ('attempt', exists (select from postmeter.attempt_default)),
             ('outcome', exists (select from postmeter.outcome_default))) p(parent, spilled)
