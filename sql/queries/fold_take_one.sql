-- fold_take_one: takes one entry from the outbox, to fold it alone. What must not be folded comes whole, as stray.
-- $1 usage.
delete from postmeter.outbox o
where o.id = (select p.id from postmeter.outbox p where p.id = $1 for update skip locked)
returning o.id, o.shard, o.org, o.product, o.metric, o.account, postmeter.hour_of(o.used_at) as hour, o.quantity,
          o.returned, case when postmeter.stray_reason(o) is not null then to_jsonb(o)::text end as stray
