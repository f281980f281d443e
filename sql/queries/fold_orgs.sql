-- fold_orgs: whose entries these are, in the order of orgs, as far as they still wait.
-- $1 shards, $2 usages. Relies on outbox_pkey.
select o.shard, o.id, o.org
from postmeter.outbox o
where (o.shard, o.id) in (select * from unnest($1, $2))
order by o.org, o.id
