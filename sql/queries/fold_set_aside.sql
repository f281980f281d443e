-- fold_set_aside: entries that no usage stands behind, or whose usage is accounted for already: kept, never billed.
-- Where an entry bore the id of a usage that says something else, and took the place of its entry, that one comes back.
-- $1 the entries, whole, as the text of JSON: numbers to the last digit.
with strays as materialized (
    select o.id, coalesce(postmeter.stray_reason(o), 'without_usage') as reason, e.entry::jsonb as entry
    from unnest($1) e(entry)
    cross join lateral jsonb_populate_record(null::postmeter.outbox, e.entry::jsonb) o
), aside as (
    insert into postmeter.stray_entry (usage_id, reason, entry)
    select s.id, s.reason, s.entry from strays s
)
insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                              request_id, traceparent, attributes, returned)
select distinct on (u.id) u.id, u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account,
       u.corrects, u.request_id, u.traceparent, u.attributes, true
from strays s
join postmeter.usage u on u.id = s.id
where s.reason = 'other_content'
  and not exists (select from postmeter.outbox o
                  where o.shard = (hashtextextended(u.org, 0) & 1023)::smallint and o.id = u.id)
  and not exists (select from postmeter.allocation a join postmeter.destination t on t.id = a.destination_id
                  where a.usage_id = u.id and t.shadow_of is null)
  and not exists (select from postmeter.held h where h.usage_id = u.id)
  and not exists (select from postmeter.exempted e where e.usage_id = u.id)
  and not exists (select from postmeter.usage_written_off w where w.usage_id = u.id)
on conflict do nothing
