-- measure_held: held usage by reason. Reads all of held.
select pg_catalog.jsonb_build_object('reason', h.reason, 'count', count(*),
    'oldest_seconds', extract(epoch from postmeter.clock() - pg_catalog.min(h.held_at)),
    'deadline_seconds', extract(epoch from pg_catalog.min(h.deadline) - postmeter.clock()))
from postmeter.held h
group by h.reason
