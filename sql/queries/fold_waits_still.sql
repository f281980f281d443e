-- fold_waits_still: whether entries of an org wait, or a usage, in whoever's hands.
-- $1 org, $2 usage; null: whichever of the org. Relies on outbox_pkey.
select exists (select from postmeter.outbox o
               where o.shard = (hashtextextended($1, 0) & 1023)::smallint and o.org = $1 and ($2 is null or o.id = $2)) as waits
