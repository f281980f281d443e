-- fold_take: takes entries from the outbox that this transaction has locked. What must not be folded comes whole, as stray.
-- $1 their places in the table: what we have locked stays where it is.
-- Its slices are marked: what has left the outbox must be somewhere else, and is proven again (decision 0048).
with taken as (
    delete from postmeter.outbox o
    using unnest($1) p(place)
    where o.ctid = p.place
    returning o.id, o.shard, o.org, o.product, o.metric, o.account, postmeter.hour_of(o.used_at) as hour, o.used_at, o.quantity,
              o.returned, o.entered_at,
              -- of a correction, what it corrects: it goes where that stands. Not known any more: nothing
              case when o.corrects is not null then coalesce(
                  (select u.corrected_id from postmeter.usage u where u.id = o.id),
                  '00000000-0000-0000-0000-000000000000') end as corrected_id,
              -- Written with its usage, by one transaction: nothing has folded it yet. All else is asked about: what came
              -- back from held, what a restore or a new partition wrote anew, and what came around intake.
              case when (select u.xmin = o.xmin
                                and (u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at)
                                  = (o.source, o.event_id, o.org, o.product, o.metric, o.quantity, o.used_at)
                                and u.account is not distinct from o.account and u.corrects is not distinct from o.corrects
                         from postmeter.usage u where u.id = o.id) then null
                   when postmeter.stray_reason(o) is null then null
                   else to_jsonb(o)::text end as stray
), marked as (
    insert into postmeter.usage_moved (slice) select distinct pg_catalog.left(t.id::pg_catalog.text, 8) from taken t
)
select * from taken
