-- shadow_take_org: takes usage of one org that waits for a shadow, without what failed before.
-- $1 destination, $2 org, $3 at most so many. Relies on shadow_usage_waiting and setback_pkey.
with picked as materialized (
    select g.destination_id, g.usage_id
    from postmeter.shadow_usage g
    where g.destination_id = $1 and g.reason is null and g.org = $2
      and not exists (select from postmeter.setback b
                      where b.step = 'shadow_fold' and b.member = $1::text || ':' || g.usage_id::text)
    order by g.destination_id, g.usage_id
    limit $3
    for update skip locked
)
delete from postmeter.shadow_usage g
using picked p
where g.destination_id = p.destination_id and g.usage_id = p.usage_id
returning g.usage_id, g.org, g.product, g.metric, g.account, g.hour, g.quantity
