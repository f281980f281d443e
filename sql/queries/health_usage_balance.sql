-- health_usage_balance: whether all recorded usage is somewhere. Reads all usage: bounded by the asker's statement_timeout.
select pg_catalog.jsonb_build_object('checked', count(*), 'open', count(*) filter (where b.difference <> 0::numeric or b.difference_usages <> 0),
    'example', (pg_catalog.array_agg(b.org || ' ' || b.product || ' ' || b.metric || ': ' || b.difference::text)
                filter (where b.difference <> 0::numeric or b.difference_usages <> 0))[1])
from postmeter.usage_balance b
