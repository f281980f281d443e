-- quota_take: the next slots of a quota, in real time; every call of the fleet starts at its own.
-- $1 quota, $2 how many. No row: the quota has neither a limit nor a pace.
with pace as materialized (
    select p.wait_until, least(q.calls_per_second::double precision, p.rate) as rate
    from postmeter.quota q
    left join postmeter.pace p on p.quota_id = q.id
    where q.id = $1
)
update postmeter.quota q
set next_slot_at = greatest(q.next_slot_at, clock_timestamp(), p.wait_until) + $2 * interval '1 second' / p.rate
from pace p
where q.id = $1 and p.rate is not null
returning (extract(epoch from q.next_slot_at - $2 * interval '1 second' / p.rate - clock_timestamp()) * 1000)::double precision as first_ms,
          1000 / p.rate as every_ms
