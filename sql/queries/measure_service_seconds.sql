-- measure_service_seconds: how long services took from their last word that begins something to their success, of the
-- 1,000 requests with the latest dates; the 100 services with most of them.
select pg_catalog.jsonb_build_object('service', x.service,
           'median', pg_catalog.percentile_cont(0.5::double precision) within group (order by x.seconds),
           'p95', pg_catalog.percentile_cont(0.95::double precision) within group (order by x.seconds))
from (
    select u.service, pg_catalog.date_part('epoch'::text, u.succeeded_at)
               - pg_catalog.date_part('epoch'::text, u.begun_at) as seconds
    from (select q.request_key from postmeter.request q where q.last_date <= (select postmeter.clock())
          order by q.last_date desc limit 1000) q
    cross join lateral (
        select w.* from postmeter.request_unit w where w.request_key = q.request_key offset 0
    ) u
    where u.succeeded_at >= u.begun_at
) x
group by x.service
order by count(*) desc, x.service limit 100
