-- alert_missing_hours: orgs' metrics that reported regularly and stopped, by destination. Reads view postmeter.missing_hours.
select h.destination as subject, count(*) as count,
       pg_catalog.format('%s of %s stopped reporting to %s', postmeter.counted(count(*), 'metric'), postmeter.counted(pg_catalog.count(distinct h.org), 'org'), h.destination) as summary,
       pg_catalog.jsonb_build_object('examples', pg_catalog.to_jsonb((pg_catalog.array_agg(h.org || ' ' || h.product || ' ' || h.metric || ', silent since '
           || pg_catalog.to_char((h.last_hour + interval '1 hour') at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC' order by h.silent_for desc, h.org, h.metric))[1:5])) as details
from postmeter.missing_hours h
group by h.destination
