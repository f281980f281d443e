-- alert_standing: the open alerts of a rule, as they were noted last.
-- $1 the rule. Relies on alert_open.
select a.subject, a.count, a.summary, a.details from postmeter.alert a where a.name = $1 and a.cleared_at is null
