-- measure_alerts: how many alerts of each rule are open. Relies on alert_open.
select jsonb_build_object('name', r.name, 'open', (
    select count(*) from postmeter.alert a where a.name = r.name and a.cleared_at is null))
from postmeter.alert_rule r
