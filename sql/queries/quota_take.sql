-- quota_take: the next slots of a quota, in real time; every call of the fleet starts at its own. No more than begin within
-- the given time, but one; slots that were given away much further ahead (at a slower limit, or before a clock was set back) are
-- not waited for.
-- $1 quota, $2 how many, $3 how far ahead (ms). No row: the quota has neither a limit nor a pace. Nobody claims while the
-- marketplace wants no call for long.
with pace as materialized (
    -- slower than a call in a day or so counts as that: the length of an interval has an end
    select 1 / greatest(least(q.calls_per_second::double precision, p.rate), 0.00001) as every_s, clock_timestamp() as now
    from postmeter.quota q
    left join postmeter.pace p on p.quota_id = q.id
    where q.id = $1 and least(q.calls_per_second::double precision, p.rate) is not null
), locked as materialized (
    select q.id, c.now, c.every_s,
           case when q.next_slot_at > c.now + ($3 / 1000 + 10 * c.every_s) * interval '1 second' then c.now
                else greatest(q.next_slot_at, c.now) end as first_at
    from postmeter.quota q
    cross join pace c
    where q.id = $1
    for no key update of q
), given as materialized (
    select l.id, l.now, l.every_s, l.first_at,
           least($2, greatest(1, floor(($3 / 1000 - extract(epoch from l.first_at - l.now)) / l.every_s)))::integer as slots
    from locked l
)
update postmeter.quota q
set next_slot_at = g.first_at + g.slots * g.every_s * interval '1 second'
from given g
where q.id = g.id
returning (extract(epoch from g.first_at - g.now) * 1000)::double precision as first_ms, 1000 * g.every_s as every_ms, g.slots
