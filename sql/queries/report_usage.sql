-- report_usage: one usage and where it is; no row if it was never recorded, or dropped (report_dropped).
-- $1 source and $2 event id, or $3 usage id. Relies on usage_pkey, outbox_pkey,
-- allocation_by_subscription.
select u.id as usage_id, u.source, u.event_id, u.org, u.account, u.product, u.metric,
       trim_scale(u.quantity)::text as quantity, u.used_at, g.hour,
       u.corrects, u.request_id, u.attributes, u.recorded_at,
       -- exactly one holds at every moment: 'lost' is a defect, and the balance would show it too
       case when exists (select from postmeter.allocation a join postmeter.destination l on l.id = a.destination_id
                         where a.usage_id = u.id and l.shadow_of is null) then 'allocated'
            when x.usage_id is not null then 'exempt'
            when h.usage_id is not null then 'held'
            when w.usage_id is not null then 'written_off'
            when exists (select from postmeter.outbox o
                         where o.shard = (hashtextextended(u.org, 0) & 1023)::smallint and o.id = u.id) then 'waiting'
            else 'lost' end as whereabouts,
       h.reason as held_reason, h.beyond as held_beyond, trim_scale(h.bound)::text as held_bound,
       trim_scale(b.quantity)::text as hour_quantity,
       round(100 * u.quantity / (b.quantity + u.quantity), 1)::text as hour_share, h.held_at, h.deadline as held_until,
       case when h.reason in ('too_late', 'month_closed') then postmeter.held_needs(h) end as held_needs,
       h.corrected_id is not null and not exists (select from postmeter.held o where o.usage_id = h.corrected_id) as is_orphan,
       t.name as held_for, e.reason as exempt_reason,
       c.reason as catalogue_reason, n.name as destination, n.paused as is_paused,
       postmeter.deadline_of(c.destination_id, c.buyer, g.hour) as own_deadline,
       postmeter.clock() as now
from postmeter.usage u
-- a correction belongs to the hour of what it corrects
cross join lateral (
    select postmeter.hour_of(coalesce(
        (select o.used_at from postmeter.usage o
         where o.id = u.corrected_id),
        u.used_at)) as hour) g
left join postmeter.held h on h.usage_id = u.id
left join postmeter.destination t on t.id = h.destination_id
left join postmeter.exempted x on x.usage_id = u.id
left join postmeter.usage_written_off w on w.usage_id = u.id
-- what the catalogue says today, for what waits or is held
left join lateral postmeter.resolve(array[u.org], array[u.product], array[u.metric], array[u.account],
                                    array[g.hour]) c on true
left join postmeter.exemption e on e.id = coalesce(x.exemption_id, c.exemption_id)
left join postmeter.destination n on n.id = c.destination_id
-- what is implausible stands beside what its hour has counted of the metric
left join lateral (
    select coalesce(sum(a.quantity), 0) as quantity
    from postmeter.allocation a
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id and mm.product = u.product and mm.metric = u.metric
    where a.subscription_id = c.subscription_id and a.hour = g.hour and a.quantity > 0
) b on h.reason = 'implausible' and u.corrects is null
where u.id = coalesce($3, postmeter.usage_of($1, $2))
