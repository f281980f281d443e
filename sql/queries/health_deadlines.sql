-- health_deadlines: buyers whose subscriptions changed more than ten minutes ago, and whose deadlines have not followed.
select pg_catalog.jsonb_build_object('buyers', count(*), 'oldest_seconds', extract(epoch from clock_timestamp() - pg_catalog.min(c.wanted_at)),
    'example', (pg_catalog.array_agg(c.buyer order by c.id))[1], 'waiting', count(*) filter (where c.awaits is not null))
from postmeter.deadline_change c
where c.wanted_at < clock_timestamp() - interval '10 minutes'
having count(*) > 0
