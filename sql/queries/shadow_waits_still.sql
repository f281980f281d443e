-- shadow_waits_still: whether usage of an org waits for a shadow, or a usage, in whoever's hands.
-- $1 destination, $2 org, $3 usage; null: whichever of the org. Relies on shadow_usage_waiting.
select exists (select from postmeter.shadow_usage g
               where g.destination_id = $1 and g.reason is null and g.org = $2 and ($3 is null or g.usage_id = $3)) as waits
