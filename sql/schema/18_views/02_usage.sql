-- Usage: where it went, and what is not remitted.

create view postmeter.usage_explained as
    select u.id as usage_id, u.source, u.event_id, s.org, u.account, u.product, u.metric, u.quantity, u.used_at,
      u.corrects, u.recorded_at, u.request_id,
      'allocated' as whereabouts,
      null::text as reason,
      t.name as destination, d.id as delivery_id, d.key, d.hour as remitted_hour, d.status, a.round, a.hour
     from postmeter.allocation a
      join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
      join postmeter.subscription s on s.id = a.subscription_id
      join postmeter.usage u on u.id = a.usage_id
      join postmeter.delivery d on d.id = a.delivery_id
    union all
    select u.id as usage_id, u.source, u.event_id, h.org, u.account, u.product, u.metric, u.quantity, u.used_at,
      u.corrects, u.recorded_at, u.request_id,
      'held' as whereabouts,
      h.reason, t.name as destination,
      null::bigint as delivery_id,
      null::text as key,
      null::timestamptz as remitted_hour,
      null::text as status,
      null::integer as round,
      h.hour
     from postmeter.held h
      join postmeter.usage u on u.id = h.usage_id
      left join postmeter.destination t on t.id = h.destination_id
    union all
    select u.id as usage_id, u.source, u.event_id, u.org, u.account, u.product, u.metric, u.quantity, u.used_at,
      u.corrects, u.recorded_at, u.request_id,
      'waiting' as whereabouts,
      null::text as reason,
      null::text as destination,
      null::bigint as delivery_id,
      null::text as key,
      null::timestamptz as remitted_hour,
      null::text as status,
      null::integer as round,
      postmeter.hour_of(o.used_at) as hour
     from postmeter.outbox_entry o
      join postmeter.usage u on u.id = o.id and u.org = o.org
     where o.shard = (hashtextextended(u.org, 0::bigint) & 1023::bigint)::smallint
    union all
    select u.id as usage_id, u.source, u.event_id, e.org, u.account, u.product, u.metric, u.quantity, u.used_at,
      u.corrects, u.recorded_at, u.request_id,
      'exempt' as whereabouts,
      e.reason,
      null::text as destination,
      null::bigint as delivery_id,
      null::text as key,
      null::timestamptz as remitted_hour,
      null::text as status,
      null::integer as round,
      postmeter.hour_of(u.used_at) as hour
     from postmeter.exempted x
      join postmeter.exemption e on e.id = x.exemption_id
      join postmeter.usage u on u.id = x.usage_id
    union all
    select u.id as usage_id, u.source, u.event_id, u.org, u.account, u.product, u.metric, u.quantity, u.used_at,
      u.corrects, u.recorded_at, u.request_id,
      'written_off' as whereabouts,
      null::text as reason,
      null::text as destination,
      null::bigint as delivery_id,
      null::text as key,
      null::timestamptz as remitted_hour,
      null::text as status,
      null::integer as round,
      postmeter.hour_of(u.used_at) as hour
     from postmeter.usage_written_off x
      join postmeter.usage u on u.id = x.usage_id;
comment on view postmeter.usage_explained is
    'Where every usage is: waiting in the outbox, held, exempt, written off, or allocated to which remittance in '
    'which status. One row a usage; one that were lost would have none, and usage_balance would say so. Quick by '
    'usage_id, by delivery_id, and by org with a range of hour. Without shadows: see shadow_usage_difference.';
comment on column postmeter.usage_explained.usage_id is 'The usage.';
comment on column postmeter.usage_explained.source is 'The service that recorded it; with event_id its identity.';
comment on column postmeter.usage_explained.event_id is 'That service''s own id of it.';
comment on column postmeter.usage_explained.org is 'The org.';
comment on column postmeter.usage_explained.account is 'Which marketplace account, where the org has several.';
comment on column postmeter.usage_explained.product is 'Our product, by stable tag.';
comment on column postmeter.usage_explained.metric is 'Our metric, by stable tag.';
comment on column postmeter.usage_explained.quantity is 'How much, in units of the metric.';
comment on column postmeter.usage_explained.used_at is 'When it was used.';
comment on column postmeter.usage_explained.corrects is 'Event id of the usage that it corrects.';
comment on column postmeter.usage_explained.recorded_at is 'When.';
comment on column postmeter.usage_explained.request_id is 'The request that caused it.';
comment on column postmeter.usage_explained.whereabouts is 'waiting, held, exempt, written_off or allocated.';
comment on column postmeter.usage_explained.reason is 'Why it is held or exempt.';
comment on column postmeter.usage_explained.destination is 'Where it is reported.';
comment on column postmeter.usage_explained.delivery_id is 'The remittance.';
comment on column postmeter.usage_explained.key is 'Key of that remittance.';
comment on column postmeter.usage_explained.remitted_hour is
    'The hour of that remittance: another than its own for late usage.';
comment on column postmeter.usage_explained.status is 'Where that remittance stands.';
comment on column postmeter.usage_explained.round is 'Which cut of that hour counted it.';
comment on column postmeter.usage_explained.hour is 'Its own hour, UTC: filter on this one, not on used_at.';

create view postmeter.unremitted as
    select 'usage' as kind,
      h.org, h.product, h.metric, h.hour, h.quantity,
      'metric' as unit,
      'held' as status,
      h.reason, h.deadline, h.held_at as since, t.name as destination,
      null::bigint as delivery_id,
      h.usage_id,
      h.usage_id::text as item
     from postmeter.held h
      left join postmeter.destination t on t.id = h.destination_id
    union all
    select 'usage' as kind,
      o.org, o.product, o.metric,
      postmeter.hour_of(o.used_at) as hour,
      o.quantity,
      'metric' as unit,
      'waiting' as status,
      null::text as reason,
      null::timestamptz as deadline,
      null::timestamptz as since,
      null::text as destination,
      null::bigint as delivery_id,
      o.id as usage_id,
      o.id::text as item
     from postmeter.outbox_entry o
    union all
    select 'remittance' as kind,
      a.org, a.product, a.metric, a.hour,
      sum(a.quantity) as quantity,
      'metric' as unit,
      d.status, d.reason, d.deadline, d.changed_at as since, t.name as destination, d.id as delivery_id,
      null::uuid as usage_id,
      jsonb_build_array(d.id, a.org, a.product, a.metric, a.hour)::text as item
     from ( select s.org,
          mm.product, mm.metric, x.hour, x.delivery_id, x.quantity
         from postmeter.allocation x
          join postmeter.subscription s on s.id = x.subscription_id
          join postmeter.meter_metric mm on mm.id = x.meter_metric_id
        union all
        select k.org, k.product, k.metric, k.hour, k.delivery_id, k.quantity
         from postmeter.ledger_carry k
         where k.hour is not null and (exists ( select
             from postmeter.meter_metric g
             where g.id = k.meter_metric_id))) a
      join postmeter.delivery d on d.id = a.delivery_id
      join postmeter.destination t on t.id = d.destination_id
     where (d.status <> ALL (array['accepted', 'nothing_due', 'released'])) and not d.shadow
     group by a.org, a.product, a.metric, a.hour, d.id, t.name
    union all
    select 'remittance' as kind,
      s.org, d.product,
      null::text as metric,
      d.hour, g.quantity,
      'billing' as unit,
      d.status, d.reason, d.deadline, d.changed_at as since, t.name as destination, d.id as delivery_id,
      null::uuid as usage_id,
      jsonb_build_array(d.id, s.org, d.product, null::unknown, d.hour)::text as item
     from postmeter.delivery d
      join postmeter.destination t on t.id = d.destination_id
      join postmeter.meter m on m.id = d.meter_id
      cross join lateral ( select
            case
              when (exists ( select
               from postmeter.allocation a
               where a.delivery_id = d.id)) or (exists ( select
               from postmeter.ledger_carry k
               where k.delivery_id = d.id)) then ( select sum(c.quantity) as sum
               from postmeter.decision c
               where c.target_delivery_id = d.id and c.verb = 'release')
              else d.quantity
            end as quantity) g
      left join postmeter.subscription s on s.destination_id = m.destination_id and s.buyer = m.buyer
          and s.product = d.product and s.valid_from < (d.hour + '01:00:00')
          and (s.valid_until is null or d.hour < s.valid_until)
     where (d.status <> ALL (array['accepted', 'nothing_due', 'released', 'open'])) and not d.shadow
         and g.quantity > 0::numeric
     group by s.org, g.quantity, d.id, t.name
    union all
    select 'remittance' as kind,
      s.org, l.product,
      null::text as metric,
      l.hour, m.billable as quantity,
      'billing' as unit,
      coalesce(o.status, 'released') as status,
      null::text as reason,
      o.deadline,
      coalesce(o.changed_at, l.changed_at) as since,
      t.name as destination, o.id as delivery_id,
      null::uuid as usage_id,
      coalesce(jsonb_build_array(o.id, s.org, l.product, null::unknown, l.hour, m.id)::text,
          jsonb_build_array('meter', m.id, s.org, l.product)::text) as item
     from postmeter.meter m
      join postmeter.destination t on t.id = m.destination_id and t.shadow_of is null
      left join lateral ( select d.id,
          d.status, d.hour, d.product, d.deadline, d.changed_at
         from postmeter.open_hour h
          join postmeter.delivery d on d.id = h.delivery_id
         where d.meter_id = m.id or (exists ( select
             from postmeter.part p
             where p.delivery_id = d.id and p.meter_id = m.id))
         order by d.hour, d.id
        limit 1) o on true
      cross join lateral ( select d.product,
          coalesce(o.hour, d.hour) as hour,
          d.changed_at
         from postmeter.delivery d
         where d.meter_id = m.id
         order by d.hour desc
        limit 1) l
      left join (lateral postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) b(subscription_id)
      join postmeter.subscription s on s.id = b.subscription_id) on s.product = l.product
          and s.valid_from < (l.hour + '01:00:00') and (s.valid_until is null or l.hour < s.valid_until)
     where m.billable > 0::numeric
     group by s.org, l.product, l.hour, l.changed_at, m.id, o.id, o.status, o.deadline, o.changed_at, t.name
    union all
    select 'dropped' as kind,
      s.org, s.product, s.metric,
      (k.month::timestamp without time zone at time zone t.zone) as hour,
      sum(s.quantity) as quantity,
      s.unit, s.status, s.reason,
      null::timestamptz as deadline,
      x.begun_at as since, t.name as destination,
      null::bigint as delivery_id,
      null::uuid as usage_id,
      jsonb_build_array('dropped', t.name, to_char(k.month::timestamptz, 'YYYY-MM'), s.org, s.product, s.metric,
          s.status, s.reason, s.unit)::text as item
     from postmeter.dropped_sum s
      join postmeter.dropped_meter k on k.id = s.meter_id
      join postmeter.destination t on t.id = k.destination_id
      left join postmeter.dropped_month x on x.destination_id = k.destination_id and x.month = k.month
     where s.answers = 'unremitted'
     group by s.org, s.product, s.metric, k.month, t.zone, s.unit, s.status, s.reason, x.begun_at, t.name;
comment on view postmeter.unremitted is
    'What was not sent or not accepted, and why: waiting and held usage, and remittances in every status but '
    'accepted, nothing_due and released (its quantity is with another remittance), by the hour of their usage. '
    'What a remittance was given by releases, and one that counts no usage of its own, is listed in billing units, '
    'and so is what an hour deferred or a release gave back and no hour has billed yet: with the open hour that '
    'takes it, or as released with the last hour of its meter. Of a dropped billing month (kind dropped) there is '
    'one row per org, metric and status, with the month''s first hour. Without shadows. Quick by org with a range '
    'of hour, and by delivery_id.';
comment on column postmeter.unremitted.kind is
    'usage or remittance; dropped: remittances of a dropped billing month together.';
comment on column postmeter.unremitted.org is 'Whose; null: no subscription says.';
comment on column postmeter.unremitted.product is 'Our product.';
comment on column postmeter.unremitted.metric is 'Our metric; null where the unit is billing.';
comment on column postmeter.unremitted.hour is 'The hour of the usage.';
comment on column postmeter.unremitted.quantity is 'How much.';
comment on column postmeter.unremitted.unit is
    'metric: units of the metric; billing: billing units that came from other hours: what releases gave to a '
    'remittance, or all of one that counts no usage of its own.';
comment on column postmeter.unremitted.status is 'waiting, held, or the remittance''s status.';
comment on column postmeter.unremitted.reason is 'Why it is held.';
comment on column postmeter.unremitted.deadline is 'Until when it can be sent.';
comment on column postmeter.unremitted.since is 'Since when it is so.';
comment on column postmeter.unremitted.destination is 'Where it would go, if that is known.';
comment on column postmeter.unremitted.delivery_id is 'Which remittance.';
comment on column postmeter.unremitted.usage_id is 'Which usage.';
comment on column postmeter.unremitted.item is 'The same as one text, unique in this view.';

create view postmeter.usage_balance as
select r.org, r.product, r.metric,
       coalesce(sum(r.usages) filter (where r.place = 'recorded'), 0)::bigint as usages,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'recorded'), 0)) as recorded,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'waiting'), 0)) as waiting,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'held'), 0)) as held,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'exempt'), 0)) as exempt,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'written_off'), 0)) as written_off,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'allocated'), 0)) as allocated,
       trim_scale(sum(r.left_over)) as difference,
       sum(r.left_usages)::bigint as difference_usages
from (select p.place, p.org, p.product, p.metric, p.quantity, p.usages::bigint, p.left_over, p.left_usages::bigint
    from postmeter.usage_place p
      union all
      select p.place, p.org, p.product, p.metric, p.quantity, p.usages, p.left_over, p.left_usages
          from postmeter.carried_place p) r
group by 1, 2, 3;
comment on view postmeter.usage_balance is
    'Per org, product and metric, in units of the metric: recorded = waiting + held + exempt + written off + '
    'allocated. The differences are zero at every moment. Live destinations only; of shadows: '
    'shadow_usage_difference and recalculate.';
comment on column postmeter.usage_balance.org is 'The org.';
comment on column postmeter.usage_balance.product is 'Our product, by stable tag.';
comment on column postmeter.usage_balance.metric is 'Our metric, by stable tag.';
comment on column postmeter.usage_balance.usages is 'How many were recorded.';
comment on column postmeter.usage_balance.recorded is 'How much.';
comment on column postmeter.usage_balance.waiting is 'Of this, in the outbox.';
comment on column postmeter.usage_balance.held is 'Of this, held with a reason.';
comment on column postmeter.usage_balance.exempt is 'Of this, not billed through a marketplace.';
comment on column postmeter.usage_balance.written_off is 'Of this, given up by a person.';
comment on column postmeter.usage_balance.allocated is 'Of this, counted by remittances of live destinations.';
comment on column postmeter.usage_balance.difference is 'Quantity that is nowhere: zero at every moment.';
comment on column postmeter.usage_balance.difference_usages is 'Usages that are nowhere: zero at every moment.';

create view postmeter.held_list as
select h.usage_id, u.source, u.event_id, t.name as destination, h.reason, h.org, h.account, h.product, h.metric,
    h.quantity, u.used_at, h.hour,
       h.deadline, h.held_at
from postmeter.held h
join postmeter.usage u on u.id = h.usage_id
left join postmeter.destination t on t.id = h.destination_id;
comment on view postmeter.held_list is
    'Usage that cannot be allocated yet, with the reason and the identity that its service knows it by.';
comment on column postmeter.held_list.usage_id is 'The held usage.';
comment on column postmeter.held_list.source is 'The service that recorded it; with event_id its identity.';
comment on column postmeter.held_list.event_id is 'That service''s own id of it.';
comment on column postmeter.held_list.destination is 'Where it would go, if that is known.';
comment on column postmeter.held_list.reason is 'Why it is held.';
comment on column postmeter.held_list.org is 'The org.';
comment on column postmeter.held_list.account is 'Which marketplace account, where the org has several.';
comment on column postmeter.held_list.product is 'Our product, by stable tag.';
comment on column postmeter.held_list.metric is 'Our metric, by stable tag.';
comment on column postmeter.held_list.quantity is 'How much, in units of the metric.';
comment on column postmeter.held_list.used_at is 'When it was used.';
comment on column postmeter.held_list.hour is 'The hour it belongs to.';
comment on column postmeter.held_list.deadline is 'Until when that can be sent, if that is known.';
comment on column postmeter.held_list.held_at is 'Since when it is held.';

create view postmeter.correction_list as
select c.id as usage_id, c.source, c.event_id, c.corrects, o.id as corrected_usage_id, c.org, c.account, c.product,
    c.metric,
       c.quantity, postmeter.hour_of(coalesce(o.used_at, c.used_at)) as hour, c.recorded_at,
       case when a.delivery_id is not null then 'allocated' when h.usage_id is not null then 'held'
            when x.usage_id is not null then 'exempt' when w.usage_id is not null then 'written_off'
            else 'waiting' end as whereabouts,
       case when a.delivery_id is not null then case when a.is_open then 'waiting' else 'counted' end
            when x.usage_id is not null or w.usage_id is not null then 'none' else 'waiting' end as effect,
       h.reason, t.name as destination, a.delivery_id
from postmeter.usage c
left join lateral (select u.id, u.used_at from postmeter.usage u where u.id = c.corrected_id) o on true
left join lateral (
    select y.destination_id, y.delivery_id, d.status = 'open' and d.round = y.round as is_open
    from postmeter.allocation y
    join postmeter.destination l on l.id = y.destination_id and l.shadow_of is null
    join postmeter.delivery d on d.id = y.delivery_id
    where y.usage_id = c.id) a on true
left join postmeter.held h on h.usage_id = c.id
left join postmeter.exempted x on x.usage_id = c.id
left join postmeter.usage_written_off w on w.usage_id = c.id
left join postmeter.destination t on t.id = coalesce(a.destination_id, h.destination_id)
where c.corrected_identity is not null;
comment on view postmeter.correction_list is
    'Every correction, where it stands, and whether it lowers a bill. It stands where the usage stands that it '
    'corrects; of usage that is exempt or was given up it has no effect, and is kept.';
comment on column postmeter.correction_list.usage_id is 'The correction.';
comment on column postmeter.correction_list.source is 'The service that recorded it; with event_id its identity.';
comment on column postmeter.correction_list.event_id is 'That service''s own id of it.';
comment on column postmeter.correction_list.corrects is 'Event id, of the same source, of the usage that it corrects.';
comment on column postmeter.correction_list.corrected_usage_id is
    'The usage that it corrects; null: that was dropped with its month.';
comment on column postmeter.correction_list.org is 'The org.';
comment on column postmeter.correction_list.account is 'Which marketplace account, where the org has several.';
comment on column postmeter.correction_list.product is 'The product.';
comment on column postmeter.correction_list.metric is 'The metric.';
comment on column postmeter.correction_list.quantity is 'Units of the metric, below zero.';
comment on column postmeter.correction_list.hour is 'The hour of the usage that it corrects: there it counts.';
comment on column postmeter.correction_list.recorded_at is 'When it was recorded.';
comment on column postmeter.correction_list.whereabouts is 'waiting, held, exempt, written_off or allocated.';
comment on column postmeter.correction_list.effect is
    'counted: it has lowered its meter; waiting: it will, once its usage is counted; none: its usage is exempt or '
    'was given up, so there is nothing to lower.';
comment on column postmeter.correction_list.reason is 'Why it is held.';
comment on column postmeter.correction_list.destination is 'Where its usage is owed, if that is known.';
comment on column postmeter.correction_list.delivery_id is
    'The remittance that counts, or counted, the usage that it corrects.';

create view postmeter.usage_list as
select u.id as usage_id, u.source, u.event_id, u.org, u.account, u.product, u.metric, u.quantity, u.used_at, u.corrects,
       u.request_id, u.traceparent, u.attributes, u.recorded_at
from postmeter.usage u;
comment on view postmeter.usage_list is
    'Everything recorded, as it was recorded, to be compared with the books of those who recorded it. Where a '
    'usage is now says usage_explained.';
comment on column postmeter.usage_list.usage_id is 'Id of the usage; ids ascend with the time of recording.';
comment on column postmeter.usage_list.source is 'The service that recorded it.';
comment on column postmeter.usage_list.event_id is 'The service''s own id of it.';
comment on column postmeter.usage_list.org is 'The customer.';
comment on column postmeter.usage_list.account is 'Which marketplace account, where the org has several.';
comment on column postmeter.usage_list.product is 'Our product.';
comment on column postmeter.usage_list.metric is 'Our metric.';
comment on column postmeter.usage_list.quantity is 'Units of the metric; below zero of a correction.';
comment on column postmeter.usage_list.used_at is 'When it was used.';
comment on column postmeter.usage_list.corrects is 'Event id of the usage that it corrects.';
comment on column postmeter.usage_list.request_id is 'The request that caused it.';
comment on column postmeter.usage_list.traceparent is 'W3C trace context of that request.';
comment on column postmeter.usage_list.attributes is 'Evidence.';
comment on column postmeter.usage_list.recorded_at is 'When it was recorded.';
