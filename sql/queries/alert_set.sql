-- alert_set: changes a rule of the alerts; what is null stays.
-- $1 its name, $2 who, $3 why, $4 severity, $5 how often it is looked at, $6 its patience, $7 how long a look may take (spans
-- of time as text), $8 whether it is switched on.
select postmeter.set_alert_rule($1, $2, $3, $4, $5::text::interval, $6::text::interval, $7::text::interval, $8)
