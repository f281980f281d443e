-- catalogue_load_destinations: every destination, and whether anything was ever counted for it.
-- Relies on the unique indexes of meter and delivery, which begin with the destination.
select t.id::bigint as id,
       pg_catalog.jsonb_build_object(
           'name', t.name, 'kind', t.kind, 'shadow_of', l.name, 'quota', q.name, 'settings', t.settings, 'zone', t.zone,
           'age_limit', extract(epoch from t.age_limit)::bigint::text || 's',
           'month_cutoff', extract(epoch from t.month_cutoff)::bigint::text || 's',
           'closing_window', extract(epoch from t.closing_window)::bigint::text || 's',
           'margin', extract(epoch from t.margin)::bigint::text || 's',
           'lead', extract(epoch from t.lead)::bigint::text || 's',
           'grace', extract(epoch from t.grace)::bigint::text || 's',
           'late_policy', t.late_policy, 'expired_policy', t.expired_policy, 'dry_run', t.dry_run,
           'records_max', t.records_max, 'bytes_max', t.bytes_max, 'in_flight_max', t.in_flight_max,
           'call_timeout', (extract(epoch from t.call_timeout) * 1000::numeric)::bigint::text || 'ms',
           'retry_first', (extract(epoch from t.retry_first) * 1000::numeric)::bigint::text || 'ms',
           'retry_max', (extract(epoch from t.retry_max) * 1000::numeric)::bigint::text || 'ms',
           'tries_max', t.tries_max,
           'memory', extract(epoch from t.memory)::bigint::text || 's') as fields,
       exists (select from postmeter.meter m where m.destination_id = t.id)
           or exists (select from postmeter.delivery d where d.destination_id = t.id)
           or exists (select from postmeter.dropped_month x where x.destination_id = t.id) as in_use,
       null::text as buyer, null::text as account, null::text as form, null::text as invalid
from postmeter.destination t
join postmeter.quota q on q.id = t.quota_id
left join postmeter.destination l on l.id = t.shadow_of
order by t.name
