-- measure_held: held usage by reason. Reads all of held.
select jsonb_build_object('reason', h.reason, 'count', count(*),
    'oldest_seconds', extract(epoch from postmeter.clock() - min(h.held_at)),
    'deadline_seconds', extract(epoch from min(h.deadline) - postmeter.clock()))
from postmeter.held h
group by h.reason
