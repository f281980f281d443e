-- measure_balance: what the last proof of the balance found, and when the whole ledger was read last (null: not yet).
select pg_catalog.jsonb_build_object('checked_at', extract(epoch from b.checked_at), 'open', b.open, 'whole_from', extract(epoch from b.whole_from))
from postmeter.balance_check b
where b.checked_at is not null
