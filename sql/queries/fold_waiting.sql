-- fold_waiting: an entry that waits in the outbox, if any: the first in the order of shards. Relies on outbox_pkey.
select o.id from postmeter.outbox o order by o.shard, o.id limit 1
