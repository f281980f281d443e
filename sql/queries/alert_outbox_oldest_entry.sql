-- alert_outbox_oldest_entry: whether usage has waited too long to be folded.
-- Relies on outbox's primary key (shard, id): the oldest of each shard is its first row; an id tells when it was made.
-- Of what came back the first of each shard is looked at: it waits since then.
with oldest as materialized (
    select greatest(postmeter.clock() - postmeter.folded_until(),
                    clock_timestamp() - (
        select pg_catalog.min(b.entered_at)
        from pg_catalog.generate_series(0, 1023) n(shard)
        cross join lateral (select o.entered_at, o.returned from postmeter.outbox o where o.shard = n.shard order by o.id limit 1) b
        where b.returned)) as age
), waiting as materialized (
    select count(*) as entries from (select from postmeter.outbox limit 100000) o
)
select '' as subject, greatest(w.entries, 1) as count,
       pg_catalog.format('the oldest outbox entry waits since %s minutes; %s%s', pg_catalog.floor(extract(epoch from o.age) / 60::numeric),
              postmeter.counted(w.entries, 'entry'), case when w.entries = 100000 then ' or more' else '' end) as summary,
       pg_catalog.jsonb_build_object('oldest_seconds', pg_catalog.floor(extract(epoch from o.age)),
           'examples', (select coalesce(pg_catalog.jsonb_agg(x.org), '[]') from (
               select o2.org from (select y.org from postmeter.outbox y limit 1000) o2 group by 1 order by count(*) desc limit 5) x)) as details
from oldest o, waiting w
where o.age > (select r.patience from postmeter.alert_rule r where r.name = 'outbox_oldest_entry')
