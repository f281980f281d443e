-- fold_corrected: where usage stands that is corrected, each at one place. A closed month holds the correction; what a
-- person gave up, alone or with its remittance, takes it along without effect.
-- $1 usages. Relies on allocation_pkey, held_pkey, exempted_pkey, usage_written_off_pkey, outbox_pkey.
select g.id as usage_id, g.has_shadow,
       case when a.usage_id is not null then
                case when a.decision_id is not null then 'written_off' when a.is_closed then 'closed'
                     when a.is_open then 'open' else 'counted' end
            when h.usage_id is not null then 'held'
            when x.usage_id is not null then 'exempt'
            when w.usage_id is not null then 'written_off'
            when o.id is not null then 'waiting'
            else 'dropped' end as place,
       postmeter.hour_of(u.used_at) as hour, coalesce(a.destination_id, h.destination_id) as destination_id,
       case when a.usage_id is not null then 'month_closed' else h.reason end as reason,
       a.meter_id, a.delivery_id, a.meter_metric_id, a.subscription_id, a.round, x.exemption_id,
       coalesce(a.decision_id, w.decision_id) as decision_id
from (select c.id, exists (select from postmeter.destination t where t.shadow_of is not null) as has_shadow
      from (select distinct n.id from unnest($1) n(id)) c) g
-- fences: look-ups by key, whatever the statistics say
left join lateral (select y.* from postmeter.usage y where y.id = g.id offset 0) u on true
left join lateral (
    select y.usage_id, y.destination_id, y.delivery_id, y.meter_metric_id, y.subscription_id, y.round, mm.meter_id,
           d.status = 'open' and d.round = y.round as is_open,
           exists (select from postmeter.closed_month c where c.destination_id = m.destination_id and c.month = m.month) as is_closed,
           (select max(c.id) from postmeter.delivery l join postmeter.decision c on c.delivery_id = l.id
            where l.id = case when d.status = 'released' then postmeter.last_remittance(d.id) else d.id end
              and l.status = 'written_off' and c.verb = 'write_off') as decision_id
    from postmeter.allocation y
    join postmeter.destination t on t.id = y.destination_id and t.shadow_of is null
    join postmeter.delivery d on d.id = y.delivery_id
    join postmeter.meter_metric mm on mm.id = y.meter_metric_id
    join postmeter.meter m on m.id = mm.meter_id
    where y.usage_id = g.id offset 0) a on true
left join lateral (select y.* from postmeter.held y where y.usage_id = g.id offset 0) h on true
left join lateral (select y.* from postmeter.exempted y where y.usage_id = g.id offset 0) x on true
left join lateral (select y.* from postmeter.usage_written_off y where y.usage_id = g.id offset 0) w on true
left join lateral (
    select y.id from postmeter.outbox y
    where y.shard = (hashtextextended(u.org, 0) & 1023)::smallint and y.id = g.id offset 0) o on true
