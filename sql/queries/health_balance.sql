-- health_balance: whether every meter's balance closes. Reads the whole ledger: bounded by the asker's statement_timeout.
select pg_catalog.jsonb_build_object('checked', count(*), 'open', count(*) filter (where b.difference <> 0::numeric),
    'example', (pg_catalog.array_agg(b.destination || ' ' || b.buyer || ' ' || b.dimension || ' ' || b.month::text || ': ' || b.difference::text)
                filter (where b.difference <> 0::numeric))[1])
from postmeter.balance b
