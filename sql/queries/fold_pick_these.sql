-- fold_pick_these: locks entries that are known, as far as nobody else has them.
-- $1 shards, $2 usages. Relies on outbox_pkey.
select o.shard, o.id, o.ctid as place
from postmeter.outbox o
where (o.shard, o.id) in (select * from unnest($1, $2))
order by o.shard, o.id
for update skip locked
