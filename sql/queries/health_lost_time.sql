-- health_lost_time: what the last loss of commits leaves to people, per live destination; no row if none was ever lost.
-- No parameters. Counts stuck, held, due and open hours; a destination of which nothing is left has no row.
select pg_catalog.jsonb_build_object('destination', l.destination, 'paused', l.paused, 'is_forgetful', l.is_forgetful,
    'lost_at', to_char(l.noticed_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
    'catalogue_changed_at', to_char(l.catalogue_changed_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
    'hours_waiting', l.hours_waiting, 'sent_again', l.sent_again, 'maybe_billed', l.maybe_billed, 'withheld', l.withheld,
    'doubts', l.doubts, 'usage_held', l.usage_held, 'unconfirmed', l.unconfirmed)
from postmeter.lost_time l
where l.paused and (l.hours_waiting + l.sent_again > 0 or l.noticed_at > postmeter.clock() - interval '7 days')
   or l.maybe_billed + l.withheld + l.doubts + l.usage_held + l.unconfirmed > 0
order by l.destination
