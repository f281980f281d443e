-- alert_fleet_incomplete: whether fewer workers or consoles live than should: by the settings, or by who was lost within a week.
select f.part as subject, f.missing::bigint as count,
       postmeter.counted(f.missing, f.part) || case when f.missing = 1 then ' is' else ' are' end || ' missing: '
           || f.alive::text || ' of ' || f.expected::text || ' live'
           || coalesce('; lost: ' || pg_catalog.array_to_string(f.names, ', '), '') as summary,
       pg_catalog.jsonb_build_object('alive', f.alive, 'expected', f.expected, 'since', f.since, 'lost', pg_catalog.to_jsonb(f.names)) as details
from postmeter.fleet f
where f.missing > 0 and f.since <= clock_timestamp() - (select r.patience from postmeter.alert_rule r where r.name = 'fleet_incomplete')
