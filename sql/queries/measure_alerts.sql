-- measure_alerts: how many alerts of each rule are open, and whether nobody can look. Relies on alert_open.
select pg_catalog.jsonb_build_object('name', r.name,
    'open', (select count(*) from postmeter.alert a where a.name = r.name and a.cleared_at is null),
    'blind', (r.enabled and (r.failure is not null or r.checked_at + r.every * 10::double precision < clock_timestamp()))::integer)
from postmeter.alert_rule r
