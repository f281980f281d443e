-- health_outbox: how much waits in the outbox (counted up to a bound) and since when.
-- Relies on outbox's primary key (shard, id): the oldest of each shard is its first row; an id tells when it was made. Of what
-- came back only the first of a shard is looked at: it waits since then, and whatever keeps one org's is found by it.
select pg_catalog.jsonb_build_object(
    'entries', (select count(*) from (select from postmeter.outbox limit 100000) o),
    'oldest_seconds', (
        select extract(epoch from clock_timestamp()) - least(
            pg_catalog.min(('x' || pg_catalog.translate(pg_catalog.left(o.id::text, 13), '-', ''))::bit(48)::bigint)::numeric / 1000.0,
            extract(epoch from pg_catalog.min(b.entered_at) filter (where b.returned)))
        from pg_catalog.generate_series(0, 1023) n(shard)
        cross join lateral (select o.entered_at, o.returned from postmeter.outbox o where o.shard = n.shard order by o.id limit 1) b
        left join lateral (select o.id from postmeter.outbox o
                           where o.shard = n.shard and not o.returned order by o.id limit 1) o on true))
