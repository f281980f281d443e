-- alert_stray_entries: outbox entries that came around intake and that no usage stands behind.
-- Reads open stray entries (stray_entry_open).
select '' as subject, count(*) as count,
       format('%s %s came into the outbox around intake, set aside and not billed',
              to_char(count(*), 'FM999,999,999,999,990'), case when count(*) = 1 then 'entry' else 'entries' end) as summary,
       jsonb_build_object('since', min(s.set_aside_at),
                          'examples', to_jsonb((array_agg('stray entry ' || s.id || ': ' || s.reason
                                                          order by s.id))[1:5])) as details
from postmeter.stray_entry s
where s.decision_id is null
having count(*) > 0
