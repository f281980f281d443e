-- fold_pick: locks entries of the outbox to be folded, tenants in turn.
-- $1 shards, in the order of turns; $2 per shard, the id after which to look (scan floor); $3 at most so many of a
-- shard; $4 at most so many. Relies on outbox_pkey (shard, id).
select o.shard, o.id, o.place
from unnest($1, $2) with ordinality s(shard, floor, turn)
cross join lateral (
    select o.shard, o.id, o.ctid as place
    from postmeter.outbox o
    where o.shard = s.shard and o.id > s.floor
    order by o.shard, o.id
    limit $3
    for update skip locked
) o
limit $4
