-- alert_set_aside: what steps have set aside because it fails, while the rest goes on; and what has failed for five minutes
-- without another one that passed, so that nobody can say whose fault it is.
-- Reads postmeter.setback, which has a row for each member that does not go through.
select s.step as subject, count(*) as count,
       pg_catalog.format('%s of step %s %s %s; the latest: %s', postmeter.counted(count(*), 'member'), s.step,
              case when pg_catalog.bool_or(s.set_aside_at is not null) then case when count(*) = 1 then 'is' else 'are' end
                   else case when count(*) = 1 then 'fails' else 'fail' end end,
              case when pg_catalog.bool_or(s.set_aside_at is not null) then 'set aside' else 'again and again' end,
              (pg_catalog.array_agg(s.reason order by s.last_at desc))[1]) as summary,
       pg_catalog.jsonb_build_object('since', pg_catalog.min(coalesce(s.set_aside_at, s.since)),
           'examples', pg_catalog.to_jsonb((pg_catalog.array_agg(s.member || pg_catalog.concat(' (' || s.org || ')') || ': ' || s.reason
                                            order by s.since, s.member))[1:5])) as details
from postmeter.setback s
where s.set_aside_at is not null or (s.code is not null and s.since < clock_timestamp() - interval '5 minutes')
group by s.step
