-- alert_read: alerts that are open, or with $1 also the cleared ones, the newest 1000.
-- Relies on alert_open.
select a.id, a.name, a.subject, a.severity, a.opened_at, a.last_seen_at, a.cleared_at, a.count, a.summary, a.details
from postmeter.alert a
where a.cleared_at is null or $1
order by a.cleared_at is not null, a.severity, a.opened_at desc, a.id desc
limit 1000
