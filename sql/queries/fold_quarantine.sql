-- fold_quarantine: puts an outbox entry aside that kills the worker which folds it.
-- $1 usage.
with taken as (
    delete from postmeter.outbox o where o.id = $1
    returning o as entry, postmeter.hour_of(o.used_at) as hour, postmeter.stray_reason(o) as stray
), marked as (
    insert into postmeter.usage_moved (slice) select pg_catalog.left((t.entry).id::pg_catalog.text, 8) from taken t
), aside as (
    -- no usage that could be held
    insert into postmeter.stray_entry (usage_id, reason, entry)
    select (t.entry).id, t.stray, to_jsonb(t.entry) from taken t where t.stray is not null
), poison as (
    select (t.entry).id, (t.entry).org, (t.entry).product, (t.entry).metric, (t.entry).account, (t.entry).quantity, t.hour,
           (t.entry).returned
    from taken t where t.stray is null
), shadowed as (
    -- a shadow does not touch it either; its rows tell why it was not counted there
    insert into postmeter.shadow_usage (destination_id, usage_id, org, product, metric, account, quantity, hour, reason)
    select distinct s.destination_id, t.id, t.org, t.product, t.metric, t.account, t.quantity, t.hour, 'poison'
    from poison t
    join postmeter.subscription s on s.org = t.org and s.product = t.product
     and s.valid_from < t.hour + interval '1 hour' and (s.valid_until is null or t.hour < s.valid_until)
    join postmeter.destination x on x.id = s.destination_id and x.shadow_of is not null
    where not t.returned
    on conflict do nothing
), held as (
    insert into postmeter.held (usage_id, reason, org, product, metric, account, quantity, hour)
    select t.id, 'poison', t.org, t.product, t.metric, t.account, t.quantity, t.hour from poison t
)
select (t.entry).id as usage_id from taken t
