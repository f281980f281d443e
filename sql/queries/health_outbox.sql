-- health_outbox: how much waits in the outbox (counted up to a bound) and since when.
-- Relies on outbox's primary key (shard, id): the oldest of each shard is its first row; an id tells when it was made.
select pg_catalog.jsonb_build_object(
    'entries', (select count(*) from (select from postmeter.outbox limit 100000) o),
    'oldest_seconds', (
        select extract(epoch from clock_timestamp()) - pg_catalog.min(('x' || pg_catalog.translate(pg_catalog.left(o.id::text, 13), '-', ''))::bit(48)::bigint)::numeric / 1000.0
        from pg_catalog.generate_series(0, 1023) n(shard)
        cross join lateral (select o.id from postmeter.outbox o where o.shard = n.shard and not o.returned order by o.id limit 1) o),
    'suspects', (select count(*) from postmeter.suspect))
