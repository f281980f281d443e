-- fold_hold: usage that cannot be allocated, with the reason.
-- $1 usages, $2 destinations, $3 reasons, $4 orgs, $5 products, $6 metrics, $7 accounts, $8 quantities, $9 hours,
-- $10 the usages that they correct, $11 the limits that they are beyond, $12 and how much these are.
insert into postmeter.held (usage_id, destination_id, reason, org, product, metric, account, quantity, hour, deadline,
                            corrected_id, beyond, bound)
select h.usage_id, h.destination_id, h.reason, h.org, h.product, h.metric, h.account, h.quantity, h.hour,
       (select min(postmeter.deadline_of(t.id, null, h.hour)) from postmeter.destination t
        where h.destination_id is null or t.id = h.destination_id),
       h.corrected_id, h.beyond, h.bound
from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
     h(usage_id, destination_id, reason, org, product, metric, account, quantity, hour, corrected_id, beyond, bound)
