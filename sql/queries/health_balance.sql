-- health_balance: whether every meter's balance closes. Reads the whole ledger: bounded by the asker's statement_timeout.
select jsonb_build_object('checked', count(*), 'open', count(*) filter (where b.difference <> 0),
    'example', (array_agg(b.destination || ' ' || b.buyer || ' ' || b.dimension || ' ' || b.month || ': ' || b.difference)
                filter (where b.difference <> 0))[1])
from postmeter.balance b
