-- report_corrections: the corrections of a usage.
-- $1 source, $2 event id. Relies on usage_corrections.
select u.event_id, trim_scale(u.quantity)::text as quantity, u.recorded_at
from postmeter.usage u
where u.corrected_identity = postmeter.usage_identity_of($1, $2)
order by u.id
