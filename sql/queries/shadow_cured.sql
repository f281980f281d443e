-- shadow_cured: lets shadows count those of these usages whose reason no longer holds.
-- $1 per usage its shadow, $2 usages.
select postmeter.return_shadow_of($1, $2) as returned
