-- suspect_split: a suspect range that cannot be folded whole goes on as its two halves.
-- $1 range. Relies on suspect_by_range.
with half as (
    select x.usage_id from (select x.usage_id, ntile(2) over (order by x.shard, x.usage_id) as half
                            from postmeter.suspect x where x.range_id = $1) x
    where x.half = 2
), made as (
    insert into postmeter.suspect_range (id) select gen_random_uuid() where exists (select from half) returning id
)
update postmeter.suspect x set range_id = m.id from half h, made m where x.usage_id = h.usage_id
