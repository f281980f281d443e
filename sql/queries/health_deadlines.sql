-- health_deadlines: changes of the catalogue of more than ten minutes ago that have not been followed: deadlines of a buyer's hours, or
-- usage in them that belongs elsewhere.
select pg_catalog.jsonb_build_object('buyers', count(*), 'oldest_seconds', extract(epoch from clock_timestamp() - pg_catalog.min(c.wanted_at)),
    'example', (pg_catalog.array_agg(c.buyer order by c.wanted_at, c.id))[1], 'waiting', count(*) filter (where c.awaits is not null))
from (select d.id, d.buyer, d.wanted_at, d.awaits from postmeter.deadline_change d
      union all
      select k.id, k.buyer, k.wanted_at, k.awaits from postmeter.catalogue_mark k) c
where c.wanted_at < clock_timestamp() - interval '10 minutes'
having count(*) > 0
