-- shadow_take: takes usage that waits for a shadow, in the order in which it was recorded, without what is folded apart.
-- $1 destination, $2 at most so many, $3 how its members of postmeter.setback begin. Relies on shadow_usage_waiting and
-- setback_pkey.
with picked as materialized (
    select g.destination_id, g.usage_id
    from postmeter.shadow_usage g
    where g.destination_id = $1 and g.reason is null
      and not exists (select from postmeter.setback b where b.step = 'shadow_fold' and b.member = $3 || g.usage_id::text)
      and not exists (select from postmeter.setback b where b.step = 'shadow_fold' and b.member = $3 || 'org:' || g.org)
    order by g.destination_id, g.usage_id
    limit $2
    for update skip locked
)
delete from postmeter.shadow_usage g
using picked p
where g.destination_id = p.destination_id and g.usage_id = p.usage_id
returning g.usage_id, g.org, g.product, g.metric, g.account, g.hour, g.quantity
