-- fold_shard: the shard of an org's entries, as outbox.shard has it.
-- $1 org.
select (hashtextextended($1, 0) & 1023)::smallint as shard
