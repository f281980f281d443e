-- catalogue_write_destinations: adds or changes destinations, by name. Whether one is paused is a person's decision and stays.
-- $1 array of objects; a shadow comes in a later statement than its live destination.
insert into postmeter.destination (name, kind, settings, quota_id, zone, age_limit, month_cutoff, closing_window, margin, lead, grace,
    late_policy, expired_policy, dry_run, records_max, bytes_max, in_flight_max, call_timeout, retry_first, retry_max, tries_max, memory, shadow_of)
select e.name, e.kind, e.settings, q.id, e.zone, e.age_limit, e.month_cutoff, e.closing_window, e.margin, e.lead, e.grace,
       e.late_policy, e.expired_policy, e.dry_run, e.records_max, e.bytes_max, e.in_flight_max, e.call_timeout, e.retry_first, e.retry_max,
       e.tries_max, e.memory, l.id
from jsonb_to_recordset($1) e(name text, kind text, quota text, settings jsonb, zone text, age_limit interval,
    month_cutoff interval, closing_window interval, margin interval, lead interval, grace interval, late_policy text,
    expired_policy text, dry_run boolean, records_max integer, bytes_max integer, in_flight_max integer, call_timeout interval,
    retry_first interval, retry_max interval, tries_max integer, memory interval, shadow_of text)
join postmeter.quota q on q.name = e.quota
left join postmeter.destination l on l.name = e.shadow_of
on conflict (name) do update
set kind = excluded.kind, settings = excluded.settings, quota_id = excluded.quota_id, zone = excluded.zone,
    age_limit = excluded.age_limit, month_cutoff = excluded.month_cutoff, closing_window = excluded.closing_window,
    margin = excluded.margin, lead = excluded.lead, grace = excluded.grace, late_policy = excluded.late_policy,
    expired_policy = excluded.expired_policy, dry_run = excluded.dry_run, records_max = excluded.records_max, bytes_max = excluded.bytes_max,
    in_flight_max = excluded.in_flight_max, call_timeout = excluded.call_timeout, retry_first = excluded.retry_first,
    retry_max = excluded.retry_max, tries_max = excluded.tries_max, memory = excluded.memory,
    shadow_of = excluded.shadow_of
