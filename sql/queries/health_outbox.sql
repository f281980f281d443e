-- health_outbox: how much waits in the outbox (counted up to a bound) and since when.
-- Relies on outbox's primary key (shard, id): the oldest of each shard is its first row; an id tells when it was made.
select jsonb_build_object(
    'entries', (select count(*) from (select from postmeter.outbox limit 100000) o),
    'oldest_seconds', (
        select extract(epoch from clock_timestamp()) - min(('x' || translate(left(o.id::text, 13), '-', ''))::bit(48)::bigint) / 1000.0
        from generate_series(0, 1023) n(shard)
        cross join lateral (select o.id from postmeter.outbox o where o.shard = n.shard and not o.returned order by o.id limit 1) o),
    'fold_deaths', (select count(*) from postmeter.worker w
                    where w.folding is not null and w.reaped_at > clock_timestamp() - interval '10 minutes'))
