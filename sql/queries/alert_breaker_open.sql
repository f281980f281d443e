-- alert_breaker_open: destinations with a fault as a whole. The breaker's times are real times.
select t.name as subject, greatest(w.waiting, 1) as count,
       pg_catalog.format('%s is down since %s UTC: %s%s; %s%s', t.name, pg_catalog.to_char(b.opened_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), b.outcome,
              coalesce(' (' || b.code || ')', ''), postmeter.counted(w.waiting, 'remittance'),
              case when w.waiting = 100000 then ' or more wait' else ' waiting' end) as summary,
       pg_catalog.jsonb_build_object('since', b.opened_at, 'outcome', b.outcome, 'code', b.code, 'http_status', b.http_status, 'faults', b.faults) as details
from postmeter.breaker b
join postmeter.destination t on t.id = b.destination_id
cross join lateral (select count(*) as waiting from (select from postmeter.due q where q.destination_id = t.id limit 100000) q) w
where b.ramp is null and not t.paused
  and b.opened_at <= clock_timestamp() - (select r.patience from postmeter.alert_rule r where r.name = 'breaker_open')
