-- fold_take: takes entries from the outbox, tenants in turn.
-- $1 shards, in the order of turns; $2 per shard, the id after which to look (scan floor); $3 at most so many of a shard;
-- $4 at most so many. Relies on outbox_pkey (shard, id).
with picked as materialized (
    select o.shard, o.id
    from unnest($1, $2) with ordinality s(shard, floor, turn)
    cross join lateral (
        select o.shard, o.id
        from postmeter.outbox o
        where o.shard = s.shard and o.id > s.floor
        order by o.shard, o.id
        limit $3
        for update skip locked
    ) o
    limit $4
)
delete from postmeter.outbox o
using picked p
where o.shard = p.shard and o.id = p.id
returning o.id, o.shard, o.org, o.product, o.metric, o.account, postmeter.hour_of(o.used_at) as hour, o.quantity, o.returned
