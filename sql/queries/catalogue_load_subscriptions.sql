-- catalogue_load_subscriptions: every subscription with its covers, how its identity reads, and whether it is in use: begun, with
-- a buyer that was metered, or usage was counted by it; is_counting: its contract is metered in the running month. Relies on meter's unique index (destination_id, buyer, ...) and on
-- allocation_by_subscription.
select s.id,
       pg_catalog.jsonb_build_object(
           'org', s.org, 'product', s.product, 'account', s.account, 'destination', t.name, 'identity', s.identity, 'contract', s.contract,
           'valid_from', pg_catalog.to_char(s.valid_from at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           'valid_until', pg_catalog.to_char(s.valid_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           'covers', coalesce((select pg_catalog.jsonb_object_agg(c.metric, pg_catalog.trim_scale(c.quantity)::text order by c.metric)
                               from postmeter.cover c where c.subscription_id = s.id), '{}')) as fields,
       s.buyer is not null and s.valid_from <= postmeter.clock() and (
           exists (select from postmeter.meter m where m.destination_id = s.destination_id and m.buyer = s.buyer)
           or exists (select from postmeter.dropped_meter k where k.destination_id = s.destination_id and k.buyer = s.buyer))
       or exists (select from postmeter.allocation a where a.subscription_id = s.id) as in_use,
       exists (
           select from postmeter.meter m join postmeter.meter_metric mm on mm.meter_id = m.id
           where m.destination_id = s.destination_id and m.buyer = coalesce(postmeter.contract_name(s.product, s.contract), s.buyer)
             and m.month = postmeter.month_of(postmeter.clock(), t.zone)) as is_counting,
       s.buyer, s.buyer_account as account, s.identity_form as form, s.invalid
from postmeter.subscription s
join postmeter.destination t on t.id = s.destination_id
order by s.org, s.product, s.account nulls first, t.name, s.valid_from
