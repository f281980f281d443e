-- health_purpose: says what the database is for.
-- $1 production, test or demo.
update postmeter.setting set purpose = $1 where purpose <> $1
