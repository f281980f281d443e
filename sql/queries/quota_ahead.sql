-- quota_ahead: how far ahead the slots of a quota are given away, in real time, and how far apart they are.
-- $1 quota, $2 how far ahead they are given (ms). No row: the quota has neither a limit nor a pace.
select case when q.next_slot_at between c.now and c.now + ($2 / 1000 + 10 / p.rate) * interval '1 second'
            then (extract(epoch from q.next_slot_at - c.now) * 1000)::double precision else 0 end as ahead_ms,
       1000 / p.rate as every_ms
from (select clock_timestamp() as now) c, postmeter.quota q
cross join lateral (
    select greatest(r.rate, 0.00001) as rate
    from (select least(q.calls_per_second::double precision, (select x.rate from postmeter.pace x where x.quota_id = q.id)) as rate) r
    where r.rate is not null
) p
where q.id = $1
