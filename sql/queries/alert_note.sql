-- alert_note: opens, refreshes and clears the alerts of a rule; what it opened and cleared.
-- $1 the rule, $2 what was found.
select n.change, n.subject, n.severity, n.count, n.summary from postmeter.note_alerts($1, $2) n
