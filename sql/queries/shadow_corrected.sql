-- shadow_corrected: where usage stands at a shadow that is corrected there. What a shadow gave up counts as sent.
-- $1 usages, $2 the shadow. Relies on allocation_pkey, shadow_usage_pkey.
select g.id as usage_id, true as has_shadow,
       case when a.usage_id is not null then
                case when a.is_closed then 'closed' when a.is_open then 'open' else 'counted' end
            when v.usage_id is null then 'dropped'
            when v.reason is null then 'waiting'
            when v.reason = 'exempt' then 'exempt'
            else 'held' end as place,
       postmeter.hour_of(u.used_at) as hour, $2 as destination_id,
       case when a.usage_id is not null then 'month_closed' else v.reason end as reason,
       a.meter_id, a.delivery_id, a.meter_metric_id, a.subscription_id, a.round, null::bigint as exemption_id
from (select distinct n.id from unnest($1) n(id)) g
left join lateral (select y.* from postmeter.usage y where y.id = g.id offset 0) u on true
left join lateral (
    select y.usage_id, y.delivery_id, y.meter_metric_id, y.subscription_id, y.round, mm.meter_id,
           d.status = 'open' and d.round = y.round as is_open,
           exists (select from postmeter.closed_month c where c.destination_id = m.destination_id and c.month = m.month) as is_closed
    from postmeter.allocation y
    join postmeter.delivery d on d.id = y.delivery_id
    join postmeter.meter_metric mm on mm.id = y.meter_metric_id
    join postmeter.meter m on m.id = mm.meter_id
    where y.usage_id = g.id and y.destination_id = $2 offset 0) a on true
left join lateral (
    select y.* from postmeter.shadow_usage y where y.destination_id = $2 and y.usage_id = g.id offset 0) v on true
