-- alert_destination_paused: destinations that a person paused, or nobody remembers who, while something waits there.
select t.name as subject, greatest(w.waiting, 1) as count,
       pg_catalog.format('%s is paused%s, and %s', t.name, coalesce(' by ' || p.who || ' since ' || pg_catalog.to_char(p.decided_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC', ''),
              postmeter.counted(w.waiting, 'remittance') || case when w.waiting = 1 then ' waits' else ' wait' end) as summary,
       pg_catalog.jsonb_build_object('who', p.who, 'why', p.why, 'since', p.decided_at) as details
from postmeter.destination t
cross join lateral (
    select count(*) as waiting from (
        (select from postmeter.due q where q.destination_id = t.id limit 100000)
        union all (select from postmeter.later l where l.destination_id = t.id limit 100000)) q) w
left join lateral (
    select c.who, c.why, c.decided_at from postmeter.decision c
    where c.destination_id = t.id and c.verb = 'pause' order by c.id desc limit 1) p on true
where t.paused and t.shadow_of is null and w.waiting > 0
  and coalesce(p.decided_at, '-infinity') <= postmeter.clock() - (select r.patience from postmeter.alert_rule r where r.name = 'destination_paused')
