-- measure_balance: what the last check of the whole balance found.
select pg_catalog.jsonb_build_object('checked_at', extract(epoch from b.checked_at), 'open', b.open)
from postmeter.balance_check b
where b.checked_at is not null
