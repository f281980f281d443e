-- alert_timeline_went_back: whether the database lacks commits that it once had, and what was paused for it is paused still.
with break as materialized (
    select b.* from postmeter.timeline_break b order by b.id desc limit 1
)
select '' as subject, count(*) as count,
       pg_catalog.format('the database lost commits (%s); %s paused until somebody compared', b.why,
              postmeter.counted(count(*), 'destination') || case when count(*) = 1 then ' is' else ' are' end) as summary,
       pg_catalog.jsonb_build_object('noticed_at', b.noticed_at, 'who', b.who, 'examples', pg_catalog.to_jsonb((pg_catalog.array_agg(t.name order by t.name))[1:5])) as details
from break b
join postmeter.destination t on t.paused
left join lateral (
    select c.who, c.why, c.decided_at from postmeter.decision c
    where c.destination_id = t.id and c.verb in ('pause', 'resume') order by c.id desc limit 1) p on true
-- paused for it, or before it and not looked at since: to be resumed by somebody who knows
where p.who is null or p.decided_at < b.noticed_at or (p.who = b.who and p.why = b.why)
group by b.why, b.who, b.noticed_at
