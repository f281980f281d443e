-- quota_take: the next slots of a quota, in real time; every call of the fleet starts at its own.
-- $1 quota, $2 how many. No row: the quota has neither a limit nor a pace. A wait that the marketplace asked for is not in
-- them: nobody claims, or sleeps with claims in hand, while it lasts.
with pace as materialized (
    select least(q.calls_per_second::double precision, p.rate) as rate
    from postmeter.quota q
    left join postmeter.pace p on p.quota_id = q.id
    where q.id = $1
)
update postmeter.quota q
set next_slot_at = greatest(q.next_slot_at, clock_timestamp()) + $2 * interval '1 second' / p.rate
from pace p
where q.id = $1 and p.rate is not null
returning (extract(epoch from q.next_slot_at - $2 * interval '1 second' / p.rate - clock_timestamp()) * 1000)::double precision as first_ms,
          1000 / p.rate as every_ms
