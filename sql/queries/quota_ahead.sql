-- quota_ahead: how far ahead the slots of a quota are given away, in real time, and how far apart they are.
-- $1 quota. No row: the quota has neither a limit nor a pace.
select (extract(epoch from greatest(q.next_slot_at, c.now) - c.now) * 1000)::double precision as ahead_ms,
       1000 / least(q.calls_per_second::double precision, p.rate) as every_ms
from (select clock_timestamp() as now) c, postmeter.quota q
left join postmeter.pace p on p.quota_id = q.id
where q.id = $1 and least(q.calls_per_second::double precision, p.rate) is not null
