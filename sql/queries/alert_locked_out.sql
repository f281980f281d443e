-- alert_locked_out: what another session has kept a step from for too long, with that session.
-- Reads postmeter.setback. What nobody has tried for a while is locked no longer, or is no candidate any more.
select s.step as subject, count(*) as count,
       pg_catalog.format('%s of step %s %s locked for up to %s minutes: %s', postmeter.counted(count(*), 'member'), s.step,
              case when count(*) = 1 then 'is' else 'are' end,
              pg_catalog.floor(extract(epoch from clock_timestamp() - pg_catalog.min(s.since)) / 60::numeric),
              coalesce('held by ' || (pg_catalog.array_agg(s.holder order by s.last_at desc) filter (where s.holder is not null))[1],
                       'another session holds it')) as summary,
       pg_catalog.jsonb_build_object('since', pg_catalog.min(s.since),
           'examples', pg_catalog.to_jsonb((pg_catalog.array_agg(s.member || pg_catalog.concat(' (' || s.org || ')')
                                            order by s.since, s.member))[1:5])) as details
from postmeter.setback s
where s.skipped > 0 and s.code is null
  and s.since <= clock_timestamp() - (select r.patience from postmeter.alert_rule r where r.name = 'locked_out')
  and s.last_at > clock_timestamp() - interval '10 minutes'
group by s.step
