-- fold_set_aside: entries that no usage stands behind, or whose usage is accounted for already: kept, never billed.
-- $1 the entries, whole.
insert into postmeter.stray_entry (usage_id, reason, entry)
select o.id, coalesce(postmeter.stray_reason(o), 'without_usage'), e.entry
from unnest($1) e(entry)
cross join lateral jsonb_populate_record(null::postmeter.outbox, e.entry) o
