-- quota_take: the next slots of a quota, in real time; every call of the fleet starts at its own.
-- $1 quota, $2 how many. No row: the quota has no limit.
update postmeter.quota q
set next_slot_at = greatest(q.next_slot_at, clock_timestamp()) + $2 * interval '1 second' / q.calls_per_second::double precision
where q.id = $1 and q.calls_per_second is not null
returning (extract(epoch from q.next_slot_at - $2 * interval '1 second' / q.calls_per_second::double precision - clock_timestamp()) * 1000)::double precision as first_ms,
          (1000 / q.calls_per_second)::double precision as every_ms
