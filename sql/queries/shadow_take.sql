-- shadow_take: takes usage that waits for a shadow, in the order in which it was recorded, without what is folded apart.
-- $1 destination, $2 at most so many, $3 usages and $4 orgs that are folded apart. Relies on shadow_usage_waiting.
with picked as materialized (
    select g.destination_id, g.usage_id
    from postmeter.shadow_usage g
    where g.destination_id = $1 and g.reason is null
      and g.usage_id not in (select n.id from unnest($3) n(id))
      and g.org not in (select n.org from unnest($4) n(org))
    order by g.destination_id, g.usage_id
    limit $2
    for update skip locked
)
delete from postmeter.shadow_usage g
using picked p
where g.destination_id = p.destination_id and g.usage_id = p.usage_id
returning g.usage_id, g.org, g.product, g.metric, g.account, g.hour, g.quantity, g.corrected_id,
          -- as a fold has it: where a subscription ends or begins inside the hour, by when it was used
          case when exists (select from postmeter.subscription s
                            where s.org = g.org and s.product = g.product
                              and (s.valid_until > g.hour and s.valid_until < g.hour + interval '1 hour'
                                   or s.valid_from > g.hour and s.valid_from < g.hour + interval '1 hour'))
               then coalesce((select postmeter.resolved_at(g.org, g.product, u.used_at) from postmeter.usage u where u.id = g.usage_id),
                             g.hour)
               else g.hour end as at
