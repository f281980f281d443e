-- ready_console: passes if the main statements of a console can: it finds tokens, and records usage and request statuses.
-- Nothing is recorded.
select (select count(*) from postmeter.token, postmeter.usage, postmeter.usage_identity where false) + (select count(*) from postmeter.idempotency where false)
       + (select count(*) from postmeter.record_usage_batch('[]')) + (select count(*) from postmeter.track_batch('[]'))
