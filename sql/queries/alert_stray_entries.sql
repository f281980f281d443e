-- alert_stray_entries: outbox entries that came around intake and that no usage stands behind.
-- Reads open stray entries (stray_entry_open).
select '' as subject, count(*) as count,
       pg_catalog.format('%s %s came into the outbox around intake, set aside and not billed',
              pg_catalog.to_char(count(*), 'FM999,999,999,999,990'), case when count(*) = 1 then 'entry' else 'entries' end) as summary,
       pg_catalog.jsonb_build_object('since', pg_catalog.min(s.set_aside_at),
                          'examples', pg_catalog.to_jsonb((pg_catalog.array_agg('stray entry ' || s.id::text || ': ' || s.reason
                                                          order by s.id))[1:5])) as details
from postmeter.stray_entry s
where s.decision_id is null
having count(*) > 0
