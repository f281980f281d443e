-- fold_shadow: gives usage that is folded for the first time to the shadows that know its org and product at its hour.
-- Runs only where the catalogue has a shadow. The shadow counts it later, in a transaction of its own.
-- $1 usages, $2 orgs, $3 products, $4 metrics, $5 accounts, $6 quantities, $7 hours, $8 the usages that they correct: a
-- correction goes to the shadows that were given those, once. Relies on subscription_by_org, allocation_pkey.
insert into postmeter.shadow_usage (destination_id, usage_id, org, product, metric, account, quantity, hour,
                                    corrected_id)
select distinct s.destination_id, u.usage_id, u.org, u.product, u.metric, u.account, u.quantity, u.hour, u.corrected_id
from unnest($1, $2, $3, $4, $5, $6, $7, $8) u(usage_id, org, product, metric, account, quantity, hour, corrected_id)
join postmeter.subscription s on s.org = u.org and s.product = u.product
 and s.valid_from < u.hour + interval '1 hour' and (s.valid_until is null or u.hour < s.valid_until)
where s.destination_id in (select t.id from postmeter.destination t where t.shadow_of is not null)
  and (u.corrected_id is null
       or ((u.corrected_id = any ($1)
            or exists (select from postmeter.shadow_usage g
                       where g.destination_id = s.destination_id and g.usage_id = u.corrected_id)
            or exists (select from postmeter.allocation a
                       where a.usage_id = u.corrected_id and a.destination_id = s.destination_id))
           and not exists (select from postmeter.allocation a
                           where a.usage_id = u.usage_id and a.destination_id = s.destination_id)))
-- given once: a shadow must never be why the live fold fails
on conflict do nothing
