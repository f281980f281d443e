-- fold_quarantine: puts an outbox entry aside that kills the worker which folds it.
-- $1 usage.
with taken as (
    delete from postmeter.outbox o where o.id = $1
    returning o.id, o.org, o.product, o.metric, o.account, o.quantity, postmeter.hour_of(o.used_at) as hour
)
insert into postmeter.held (usage_id, reason, org, product, metric, account, quantity, hour)
select t.id, 'poison', t.org, t.product, t.metric, t.account, t.quantity, t.hour from taken t
returning usage_id
