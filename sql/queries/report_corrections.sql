-- report_corrections: the corrections of a usage, and whether they lower a bill.
-- $1 source, $2 event id. Relies on usage_corrections.
select u.event_id, trim_scale(u.quantity)::text as quantity, u.recorded_at, l.effect
from postmeter.usage u
cross join lateral (select c.effect from postmeter.correction_list c where c.usage_id = u.id) l
where u.corrected_identity = postmeter.usage_identity_of($1, $2)
order by u.id
