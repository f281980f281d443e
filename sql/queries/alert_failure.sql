-- alert_failure: notes why a rule could not be looked at, or null: it could.
-- $1 the rule, $2 why.
select postmeter.note_alert_failure($1, $2)
