-- fold_look: an entry that waits in the outbox, if any; whether a worker died while it folded and nobody has looked at what
-- it had in hand. Relies on outbox_pkey.
select (select o.id from postmeter.outbox o order by o.shard, o.id limit 1) as first_entry,
       exists (select from postmeter.worker w where w.folding is not null and w.reaped_at is not null) as has_deaths
