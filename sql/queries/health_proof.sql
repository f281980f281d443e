-- health_proof: as of when the balance is proven, and between when the whole ledger was read last.
select pg_catalog.jsonb_build_object(
    'checked_at', postmeter.when_said(b.checked_at), 'whole_from', postmeter.when_said(b.whole_from), 'whole_until', postmeter.when_said(b.whole_until),
    'again_since', case when b.round_at <= clock_timestamp() then postmeter.when_said(b.round_at) end, 'open', b.open, 'example', b.example,
    'moved', (select count(*) from (select m.meter_id from postmeter.balance_moved m group by m.meter_id) d), 'anew', (select count(*) from postmeter.balance_anew),
    'unchecked', coalesce(b.checked_at, b.since) < clock_timestamp() - interval '1 day',
    'stale', coalesce(b.whole_from, b.since) < clock_timestamp() - interval '14 days'
             or coalesce(b.checked_at, b.since) < clock_timestamp() - interval '1 day')
from postmeter.balance_check b
