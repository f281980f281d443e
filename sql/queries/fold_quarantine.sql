-- fold_quarantine: puts an outbox entry aside that kills the worker which folds it.
-- $1 usage.
with taken as (
    delete from postmeter.outbox o where o.id = $1
    returning o.id, o.org, o.product, o.metric, o.account, o.quantity, postmeter.hour_of(o.used_at) as hour, o.returned
), shadowed as (
    -- a shadow does not touch it either; its rows tell why it was not counted there
    insert into postmeter.shadow_usage (destination_id, usage_id, org, product, metric, account, quantity, hour, reason)
    select distinct s.destination_id, t.id, t.org, t.product, t.metric, t.account, t.quantity, t.hour, 'poison'
    from taken t
    join postmeter.subscription s on s.org = t.org and s.product = t.product
     and s.valid_from <= t.hour and (s.valid_until is null or t.hour < s.valid_until)
    join postmeter.destination x on x.id = s.destination_id and x.shadow_of is not null
    where not t.returned
    on conflict do nothing
)
insert into postmeter.held (usage_id, reason, org, product, metric, account, quantity, hour)
select t.id, 'poison', t.org, t.product, t.metric, t.account, t.quantity, t.hour from taken t
returning usage_id
