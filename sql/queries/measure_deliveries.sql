-- measure_deliveries: how many deliveries wait or are stuck, and since when the oldest does, per live destination.
-- What waits is in small tables of its own; delivery, which holds all there ever were, is only looked up by number.
with clock as materialized (
    select postmeter.clock() as now
), counted as (
    select o.destination_id, 'open' as status, count(*) as count, pg_catalog.min(o.hour) as since from postmeter.open_hour o group by 1
    union all
    select s.destination_id, s.status, count(*), pg_catalog.min(s.since) from postmeter.stuck s group by 1, 2
    union all
    select q.destination_id, 'due', count(*), null from postmeter.due q group by 1
    union all
    select l.destination_id, 'later', count(*), null from postmeter.later l group by 1
), oldest as (
    -- of what is due the lowest number, which was opened first: near enough, and one look-up
    select t.id as destination_id, pg_catalog.min(d.cut_at) as since
    from postmeter.destination t
    cross join lateral (
        select (select pg_catalog.min(q.delivery_id) from postmeter.due q where q.destination_id = t.id)
        union all
        select pg_catalog.min(l.delivery_id) from postmeter.later l where l.destination_id = t.id
    ) first(delivery_id)
    join postmeter.delivery d on d.id = first.delivery_id
    group by 1
)
select pg_catalog.jsonb_build_object('destination', t.name, 'status', w.status, 'count', coalesce(c.count, 0),
    'oldest_seconds', extract(epoch from k.now - case w.status when 'due' then o.since else c.since end))
from clock k
cross join postmeter.destination t
cross join pg_catalog.unnest(array['open', 'due', 'later', 'rejected', 'expired', 'conflict', 'unknown', 'held']) w(status)
left join counted c on c.destination_id = t.id and c.status = w.status
left join oldest o on o.destination_id = t.id
where t.shadow_of is null
