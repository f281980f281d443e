-- alert_take: takes a rule whose time has come, for this transaction; others pass over it meanwhile.
-- $1 names of rules, $2 whether its time has come or not.
select r.name, r.within_ms from postmeter.take_alert_rule($1, $2) r
