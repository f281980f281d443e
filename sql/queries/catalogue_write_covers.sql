-- catalogue_write_covers: what these subscriptions' contracts cover, and nothing else.
-- $1 array of objects with org, product, account, destination, valid_from (which name one subscription) and covers.
with entry as (
    select s.id, e.covers
    from jsonb_to_recordset($1) e(org text, product text, account text, destination text, valid_from timestamptz, covers jsonb)
    join postmeter.destination t on t.name = e.destination
    join postmeter.subscription s on s.org = e.org and s.product = e.product and s.account is not distinct from e.account
     and s.destination_id = t.id and s.valid_from = e.valid_from
), removed as (
    delete from postmeter.cover c using entry e where c.subscription_id = e.id and not e.covers ? c.metric
)
insert into postmeter.cover (subscription_id, metric, quantity)
select e.id, v.key, v.value::numeric from entry e, jsonb_each_text(e.covers) v
on conflict (subscription_id, metric) do update set quantity = excluded.quantity
where cover.quantity <> excluded.quantity
