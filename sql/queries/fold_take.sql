-- fold_take: takes entries from the outbox, tenants in turn. What must not be folded comes whole, as stray.
-- $1 shards, in the order of turns; $2 per shard, the id after which to look (scan floor); $3 at most so many of a
-- shard; $4 at most so many. Relies on outbox_pkey (shard, id).
with picked as materialized (
    select o.shard, o.id
    from unnest($1, $2) with ordinality s(shard, floor, turn)
    cross join lateral (
        select o.shard, o.id
        from postmeter.outbox o
        where o.shard = s.shard and o.id > s.floor
        order by o.shard, o.id
        limit $3
        for update skip locked
    ) o
    limit $4
)
delete from postmeter.outbox o
using picked p
where o.shard = p.shard and o.id = p.id
returning o.id, o.shard, o.org, o.product, o.metric, o.account, postmeter.hour_of(o.used_at) as hour, o.quantity,
          o.returned,
          -- Written with its usage, by one transaction: nothing has folded it yet. All else is asked about: what came
          -- back from held, what a restore or a new partition wrote anew, and what came around intake.
          case when (select u.xmin = o.xmin
                            and (u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at)
                              = (o.source, o.event_id, o.org, o.product, o.metric, o.quantity, o.used_at)
                            and u.account is not distinct from o.account and u.corrects is not distinct from o.corrects
                     from postmeter.usage u where u.id = o.id) then null
               when postmeter.stray_reason(o) is null then null
               else to_jsonb(o)::text end as stray
