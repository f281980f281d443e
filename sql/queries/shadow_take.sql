-- shadow_take: takes usage that waits for a shadow, in the order in which it was recorded.
-- $1 destination, $2 at most so many. Relies on shadow_usage_waiting.
with picked as materialized (
    select g.destination_id, g.usage_id
    from postmeter.shadow_usage g
    where g.destination_id = $1 and g.reason is null
    order by g.destination_id, g.usage_id
    limit $2
    for update skip locked
)
delete from postmeter.shadow_usage g
using picked p
where g.destination_id = p.destination_id and g.usage_id = p.usage_id
returning g.usage_id, g.org, g.product, g.metric, g.account, g.hour, g.quantity
