-- measure_quotas: quotas with a limit, and how far ahead their slots are taken. Real time, as the slots are.
select pg_catalog.jsonb_build_object('quota', q.name, 'calls_per_second', q.calls_per_second,
    'wait_seconds', case when q.next_slot_at > clock_timestamp() then extract(epoch from q.next_slot_at - clock_timestamp()) else 0 end)
from postmeter.quota q
where q.calls_per_second is not null
