-- fold_suspects: what workers had in hand while they died folding becomes suspect, in at most sixteen ranges of sixteen
-- entries or more, and is theirs no more; a range that kills again goes on in sixteenths. An entry is suspect once, however
-- many died with it. Relies on outbox_pkey and suspect_by_range.
with dead as materialized (
    select w.id, w.folding
    from postmeter.worker w
    where w.folding is not null and w.reaped_at is not null
    order by w.id
    for update skip locked
), spans as (
    select distinct (s ->> 0)::smallint as shard, (s ->> 1)::uuid as first_id, (s ->> 2)::uuid as last_id,
           s ->> 3 as org
    from dead d
    cross join lateral jsonb_array_elements(coalesce(d.folding -> 'spans', '[]') || coalesce(d.folding -> 'apart', '[]')) s
), first_time as (
    select o.shard, o.id as usage_id,
           ntile(least(16, (o.entries + 15) / 16)::integer) over (order by o.shard, o.id) as part
    from (select o.shard, o.id, count(*) over () as entries
          from (select distinct o.shard, o.id
                from spans s
                cross join lateral (select o.shard, o.id from postmeter.outbox o
                                    where o.shard = s.shard and o.id between s.first_id and s.last_id
                                      and (s.org is null or o.org = s.org)) o) o
          where not exists (select from postmeter.suspect x where x.usage_id = o.id)) o
), again as (
    -- it died with a part of what was suspect before
    select distinct (d.folding ->> 'suspect')::uuid as range_id from dead d where d.folding ? 'suspect'
), parts_again as (
    select x.range_id, x.shard, x.usage_id, ntile(16) over (partition by x.range_id order by x.shard, x.usage_id) as part,
           count(*) over (partition by x.range_id) as entries
    from again a join postmeter.suspect x on x.range_id = a.range_id
), new_ranges as materialized (
    select n.of_range, n.part, gen_random_uuid() as id
    from (select null::uuid as of_range, f.part from first_time f
          union
          select p.range_id, p.part from parts_again p where p.entries > 1) n
), made as (
    insert into postmeter.suspect_range (id) select n.id from new_ranges n
), marked as (
    insert into postmeter.suspect (usage_id, shard, range_id)
    select f.usage_id, f.shard, n.id
    from first_time f join new_ranges n on n.of_range is null and n.part = f.part
    on conflict do nothing
), moved as (
    update postmeter.suspect x set range_id = n.id
    from parts_again p join new_ranges n on n.of_range = p.range_id and n.part = p.part
    where x.usage_id = p.usage_id
), gone as (
    delete from postmeter.suspect_range r using new_ranges n where r.id = n.of_range
), alone as (
    update postmeter.suspect_range r set deaths = r.deaths + 1
    from parts_again p where p.entries = 1 and r.id = p.range_id
), cleared as (
    update postmeter.worker w set folding = null from dead d where w.id = d.id
)
select (select count(*) from dead) as workers, (select count(*) from first_time) as entries
