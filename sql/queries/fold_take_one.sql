-- fold_take_one: takes one entry from the outbox, to fold it alone.
-- $1 usage.
delete from postmeter.outbox o
where o.id = (select p.id from postmeter.outbox p where p.id = $1 for update skip locked)
returning o.id, o.shard, o.org, o.product, o.metric, o.account, postmeter.hour_of(o.used_at) as hour, o.quantity, o.returned
