-- alert_set_aside: what steps have set aside because it fails, while the rest goes on.
-- Reads postmeter.setback, which has a row for each member that does not go through.
select s.step as subject, count(*) as count,
       pg_catalog.format('%s of step %s %s set aside; the latest: %s', postmeter.counted(count(*), 'member'), s.step,
              case when count(*) = 1 then 'is' else 'are' end, (pg_catalog.array_agg(s.reason order by s.last_at desc))[1]) as summary,
       pg_catalog.jsonb_build_object('since', pg_catalog.min(s.set_aside_at),
           'examples', pg_catalog.to_jsonb((pg_catalog.array_agg(s.member || pg_catalog.concat(' (' || s.org || ')') || ': ' || s.reason
                                            order by s.set_aside_at, s.member))[1:5])) as details
from postmeter.setback s
where s.set_aside_at is not null
group by s.step
