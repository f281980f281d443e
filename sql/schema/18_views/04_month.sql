-- The close of a month, and what is left of it.

create view postmeter.forecast_detail as
with now as materialized (
    select postmeter.clock() as now
), recent as (
    -- ids are made from the server's clock: so many attempts in the last ten minutes of real time
    select a.destination_id, count(*) / 600.0 as records_a_second
    -- selected, so that it is a constant: the index and the partitions follow it
    from postmeter.attempt a where a.id >= (select postmeter.id_at(clock_timestamp() - interval '10 minutes'))
        group by 1
), pace as (
    select t.id as destination_id, t.name, t.paused,
           case when q.calls_per_second is null then t.id else -q.id end as line,
           coalesce(q.calls_per_second * t.records_max,
                    greatest(r.records_a_second, t.in_flight_max * t.records_max / extract(epoch from t.call_timeout)))
                        as records_a_second
    from postmeter.destination t
    join postmeter.quota q on q.id = t.quota_id
    left join recent r on r.destination_id = t.id
    where t.shadow_of is null
), waiting as (
    select q.delivery_id, q.destination_id, q.deadline, null::timestamptz as due_at from postmeter.due q
    union all
    select l.delivery_id, l.destination_id, d.deadline, l.due_at
    from postmeter.later l join postmeter.delivery d on d.id = l.delivery_id
), ordered as (
    select w.delivery_id, w.deadline, w.due_at, p.name as destination, p.paused, p.records_a_second,
           row_number() over (partition by p.line order by w.deadline, w.delivery_id) as place
    from waiting w join pace p on p.destination_id = w.destination_id
)
select o.delivery_id, o.destination, o.deadline, o.place,
       case when not o.paused then greatest(n.now + o.place / o.records_a_second * interval '1 second',
           o.due_at) end as sent_by,
       o.paused or greatest(n.now + o.place / o.records_a_second * interval '1 second', o.due_at) > o.deadline as misses
from ordered o, now n;
comment on view postmeter.forecast_detail is
    'For each waiting remittance, when it will be sent at the present rate: its place by deadline among all that '
    'share its quota, at the quota''s calls a second (else the rate of the last ten minutes, at least what its '
    'calls in flight would do if each took its timeout). misses: that is after its deadline, or its destination is '
    'paused. Without shadows.';
comment on column postmeter.forecast_detail.delivery_id is 'The remittance.';
comment on column postmeter.forecast_detail.destination is 'Name of the destination.';
comment on column postmeter.forecast_detail.deadline is 'Last moment at which it may be sent, margin taken off.';
comment on column postmeter.forecast_detail.place is 'By deadline, among all that share its quota.';
comment on column postmeter.forecast_detail.sent_by is 'When its turn comes; null: paused.';
comment on column postmeter.forecast_detail.misses is 'That is after its deadline, or never.';

create view postmeter.forecast as
select f.destination, count(*) as waiting, max(f.sent_by) as all_sent_by, count(*) filter (where f.misses) as misses,
       sum(r.quantity) filter (where f.misses) as quantity_missing,
           min(f.deadline) filter (where f.misses) as first_missed_deadline
from postmeter.forecast_detail f
join postmeter.delivery r on r.id = f.delivery_id
group by f.destination;
comment on view postmeter.forecast is
    'Per destination: how many remittances wait, when the last of them will be sent at the present rate, and how '
    'many miss their deadline by then (quantity in billing units, over all dimensions: a measure of size, not of '
    'money).';
comment on column postmeter.forecast.destination is 'Its name.';
comment on column postmeter.forecast.waiting is 'Remittances that are cut and not sent.';
comment on column postmeter.forecast.all_sent_by is 'When the last is sent; null: it is paused.';
comment on column postmeter.forecast.misses is 'Those sent after their deadline by then.';
comment on column postmeter.forecast.quantity_missing is 'Their billing units, over all dimensions: a measure of size.';
comment on column postmeter.forecast.first_missed_deadline is 'The first of their deadlines.';

create view postmeter.month_close as
    with item as (
        select m.destination_id, m.month, d.status as class, d.reason, m.id as meter_id, m.buyer, m.dimension,
          null::text as org,
          d.product,
          null::text as metric,
          count(distinct d.id) as items,
          sum(c_1.to_bill) as quantity,
          'billing' as unit,
          1::bigint as numerator,
          1::bigint as denominator
         from postmeter.cut c_1
          join postmeter.delivery d on d.id = c_1.delivery_id
          join postmeter.meter m on m.id = c_1.meter_id
         where c_1.to_bill <> 0::numeric and (d.status <> ALL (array['nothing_due', 'open', 'released']))
         group by m.id, d.status, d.reason, d.product
        union all
        select m.destination_id, m.month,
          'open' as class,
          null::text as reason,
          m.id as meter_id, m.buyer, m.dimension,
          null::text as org,
          mm.product, mm.metric,
          count(distinct d.id) as items,
          sum(a.quantity) as quantity,
          'metric' as unit,
          mm.factor_numerator as numerator, mm.factor_denominator as denominator
         from postmeter.open_hour o
          join postmeter.delivery d on d.id = o.delivery_id
          join postmeter.allocation a on a.delivery_id = d.id and a.round = d.round
          join postmeter.meter_metric mm on mm.id = a.meter_metric_id
          join postmeter.meter m on m.id = mm.meter_id
         group by m.id, mm.id
        union all
        select h.destination_id,
          postmeter.month_of(h.hour, coalesce(t_1.zone, 'UTC')) as month,
          'held_usage' as class,
          h.reason,
          null::bigint as meter_id,
          null::text as buyer,
          x.name as dimension, h.org, h.product, h.metric,
          count(*) as items,
          sum(h.quantity) as quantity,
          'metric' as unit,
          x.factor_numerator as numerator, x.factor_denominator as denominator
         from postmeter.held h
          left join postmeter.destination t_1 on t_1.id = h.destination_id
          left join lateral ( select x_1.name,
              x_1.factor_numerator, x_1.factor_denominator
             from postmeter.dimension x_1
             where x_1.destination_id = h.destination_id and x_1.product = h.product and x_1.metric = h.metric
                 and x_1.valid_from <= postmeter.month_of(h.hour, t_1.zone)
             order by x_1.valid_from desc
            limit 1) x on true
         group by h.destination_id, (postmeter.month_of(h.hour, coalesce(t_1.zone, 'UTC'))), h.reason, x.name, h.org,
             h.product, h.metric, x.factor_numerator, x.factor_denominator
        union all
        select null::integer as destination_id,
          postmeter.month_of(postmeter.hour_of(o.used_at), 'UTC') as month,
          'waiting' as class,
          null::text as reason,
          null::bigint as meter_id,
          null::text as buyer,
          null::text as dimension,
          o.org, o.product, o.metric,
          count(*) as items,
          sum(o.quantity) as quantity,
          'metric' as unit,
          null::bigint as numerator,
          null::bigint as denominator
         from postmeter.outbox_entry o
         group by (postmeter.month_of(postmeter.hour_of(o.used_at), 'UTC')), o.org, o.product, o.metric
        union all
        select l.destination_id, l.month, v.class,
          null::text as reason,
          l.id as meter_id, l.buyer, l.dimension,
          null::text as org,
          p_1.product,
          null::text as metric,
          1 as items, v.quantity,
          'billing' as unit,
          1 as numerator, 1 as denominator
         from ( select m.id,
              m.destination_id, m.month, m.buyer, m.dimension, m.carried, m.billable, m.denominator,
              GREATEST(0::numeric, m.billed - postmeter.round_units(m.carried + m.billed * m.denominator, m.denominator,
                case
                  when m.month_end = 'round_up' then 'up'
                  else m.rounding
                end, m.decimals)) as over_billed
             from postmeter.meter m
             where m.carried <> 0::numeric or m.billable > 0::numeric) l
          cross join lateral ( select min(mm.product) as product
             from postmeter.meter_metric mm
             where mm.meter_id = l.id) p_1
          cross join lateral ( values ('over_billed',l.over_billed), ('released',l.billable),
              ('remainder',round(GREATEST(0::numeric, l.carried / l.denominator - l.billable), 15))) v(class, quantity)
         where v.quantity > 0::numeric
        )
    select t.name as destination, i.month,
      c.closed_at is not null as closed, c.closed_at, i.class, i.reason, i.meter_id, i.buyer, i.org, i.product,
      i.metric, i.dimension, i.items,
      trim_scale(i.quantity) as quantity,
      i.unit,
      trim_scale(round(i.quantity * i.numerator::numeric * p.unit_price / i.denominator::numeric, 15)) as amount,
      p.currency,
      t.shadow_of is not null as shadow
     from item i
      left join postmeter.destination t on t.id = i.destination_id
      left join postmeter.closed_month c on c.destination_id = i.destination_id and c.month = i.month
      left join lateral ( select x.unit_price,
          x.currency
         from postmeter.dimension x
         where x.destination_id = i.destination_id and x.name = i.dimension and x.product = i.product
             and x.valid_from <= i.month
         order by x.valid_from desc, x.id
        limit 1) p on true
    union all
    select t.name as destination, k.month,
      c.closed_at is not null as closed, c.closed_at, i.class, i.reason, k.id as meter_id, k.buyer,
      null::text as org,
      i.product,
      null::text collate "C" as metric,
      k.dimension, i.items,
      trim_scale(i.quantity) as quantity,
      'billing' as unit,
      trim_scale(round(i.quantity * p.unit_price, 15)) as amount,
      p.currency,
      t.shadow_of is not null as shadow
     from postmeter.dropped_meter k
      join postmeter.destination t on t.id = k.destination_id
      left join postmeter.closed_month c on c.destination_id = k.destination_id and c.month = k.month
      cross join lateral ( select s.status as class,
          s.reason, s.product, s.remittances as items, s.quantity
         from postmeter.dropped_sum s
         where s.meter_id = k.id and s.answers = 'month_close'
        union all
        select v.class,
          null::text as reason,
          k.product, 1 as items, v.quantity
         from ( values ('over_billed',GREATEST(0::numeric,
             k.billed - postmeter.round_units(k.carried + k.billed * k.denominator, k.denominator,
                case
                  when k.month_end = 'round_up' then 'up'
                  else k.rounding
                end, k.decimals))), ('released',k.billable),
                    ('remainder',round(GREATEST(0::numeric, k.carried / k.denominator - k.billable), 15))) v(class,
                    quantity)
         where v.quantity > 0::numeric and (k.carried <> 0::numeric or k.billable > 0::numeric)) i
      left join lateral ( select x.unit_price,
          x.currency
         from postmeter.dimension x
         where x.destination_id = k.destination_id and x.name = k.dimension and x.product = i.product
             and x.valid_from <= k.month
         order by x.valid_from desc, x.id
        limit 1) p on true;
comment on view postmeter.month_close is
    'What a month came to, per destination: counts, quantities and amounts by class (the statuses of remittances; '
    'held_usage, waiting, released, remainder, over_billed), closed or not. Credit that no later usage took is '
    'over_billed: listed, never sent as negative. A row has one currency at most; amount null: unpriced. '
    'Destination null: no destination is known yet, and the month is that of UTC. A shadow''s rows bear its name '
    'and the mark shadow; what it did not count is in shadow_usage.';
comment on column postmeter.month_close.destination is 'Name of the destination; null: not known yet.';
comment on column postmeter.month_close.month is
    'First day of the billing month; of UTC where the destination is null.';
comment on column postmeter.month_close.closed is 'A person closed this month.';
comment on column postmeter.month_close.closed_at is 'When a person closed it.';
comment on column postmeter.month_close.class is
    'A remittance''s status, or held_usage, waiting, released, remainder, over_billed.';
comment on column postmeter.month_close.reason is 'Why it is held.';
comment on column postmeter.month_close.meter_id is 'The meter.';
comment on column postmeter.month_close.buyer is 'The buyer in canonical text.';
comment on column postmeter.month_close.org is 'The org; null where a remittance counts several.';
comment on column postmeter.month_close.product is 'Our product, by stable tag.';
comment on column postmeter.month_close.metric is 'Our metric; null where a remittance counts several.';
comment on column postmeter.month_close.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.month_close.items is 'How many remittances or usages.';
comment on column postmeter.month_close.quantity is 'How much.';
comment on column postmeter.month_close.unit is 'billing units, or units of the metric.';
comment on column postmeter.month_close.amount is 'Billing units times unit price; null: unpriced, never zero.';
comment on column postmeter.month_close.currency is 'Currency of the amount; null: unpriced.';
comment on column postmeter.month_close.shadow is 'The row is a shadow''s: nothing of it was billed.';

create view postmeter.ledger_partition as
with part as (
    select p.parent, to_date(right(c.relname, 6), 'YYYYMM') as month, c.oid, c.reltuples
    from (values ('usage'), ('allocation'), ('attempt'), ('outcome')) p(parent)
    join pg_inherits i on i.inhparent = ('postmeter.' || p.parent)::regclass
    join pg_class c on c.oid = i.inhrelid and c.relname ~ '_[0-9]{6}$'
    union all
    select p.parent, d.month, null::oid as oid, null::real as reltuples
    from postmeter.ledger_drop d cross join (values ('usage'), ('allocation'), ('attempt'), ('outcome')) p(parent)
), months as (
    -- an aggregate, so that it is asked once a month, and only for the months that are asked for
    select m.month, min(postmeter.ledger_why_not(m.month)) as why_not from (select distinct p.month from part p) m
        group by m.month
)
select p.parent as table_name, p.month, p.month::timestamp at time zone 'UTC' as begins_at,
       (p.month + interval '1 month')::timestamp at time zone 'UTC' as ends_at,
       coalesce((select (t ->> 'rows')::bigint from jsonb_array_elements(e.manifest::jsonb -> 'tables') t
           where t ->> 'table' = p.parent),
                nullif(p.reltuples, -1)::bigint) as rows,
       pg_total_relation_size(p.oid) as bytes, m.why_not is null or d.month is not null as finished, m.why_not,
       e.exported_at, e.digest, d.dropped_at
from part p
join months m on m.month = p.month
left join postmeter.ledger_export e on e.month = p.month
left join postmeter.ledger_drop d on d.month = p.month;
comment on view postmeter.ledger_partition is
    'The monthly partitions of the ledger, those that were dropped included: how large, whether everything in them '
    'is finished, and if not, why not.';
comment on column postmeter.ledger_partition.table_name is 'Which table of the ledger.';
comment on column postmeter.ledger_partition.month is 'First day of the month.';
comment on column postmeter.ledger_partition.begins_at is 'The first moment of recording in it, UTC.';
comment on column postmeter.ledger_partition.ends_at is 'The first moment after it.';
comment on column postmeter.ledger_partition.rows is
    'How many rows: exact once exported, else as counted by the last analyze; null: unknown.';
comment on column postmeter.ledger_partition.bytes is 'On disk, with indexes; null: dropped.';
comment on column postmeter.ledger_partition.finished is
    'Everything in it is finished: it may be exported, and dropped once that is done.';
comment on column postmeter.ledger_partition.why_not is 'The first reason why it is not finished.';
comment on column postmeter.ledger_partition.exported_at is 'When its export was recorded.';
comment on column postmeter.ledger_partition.digest is 'SHA-256 of the export''s manifest.';
comment on column postmeter.ledger_partition.dropped_at is 'When it was dropped; null: it is here.';

create view postmeter.ledger_month as
select t.name as destination, m.month, c.closed_at, postmeter.month_drop_why_not(t.name, m.month) as why_not,
       e.number as export, e.exported_at, e.digest, x.begun_at, x.finished_at as dropped_at,
           x.remittances as remittances_dropped
from (select k.destination_id, k.month from postmeter.meter k group by 1, 2
      union select k.destination_id, k.month from postmeter.dropped_month k) m
join postmeter.destination t on t.id = m.destination_id
left join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
left join postmeter.dropped_month x on x.destination_id = m.destination_id and x.month = m.month
left join lateral (select y.number, y.exported_at, y.digest from postmeter.month_export y
                   where y.destination_id = m.destination_id and y.month = m.month order by y.number desc
                       limit 1) e on true;
comment on view postmeter.ledger_month is
    'Billing months, and whether their remittances, cuts and meters may be dropped, are being dropped or were. Ask '
    'it by destination or month: a month whose ledger is gone is read whole.';
comment on column postmeter.ledger_month.destination is 'The destination.';
comment on column postmeter.ledger_month.month is 'First day of the billing month.';
comment on column postmeter.ledger_month.closed_at is 'When it was closed; null: it is open.';
comment on column postmeter.ledger_month.why_not is
    'Why its remittances may not be dropped; null: they may, once they are exported.';
comment on column postmeter.ledger_month.export is
    'The number of its latest export with its remittances; null: none, and an older program''s has none.';
comment on column postmeter.ledger_month.exported_at is 'When that was recorded.';
comment on column postmeter.ledger_month.digest is 'SHA-256 of its manifest.';
comment on column postmeter.ledger_month.begun_at is 'When its drop began.';
comment on column postmeter.ledger_month.dropped_at is 'When nothing was left of it.';
comment on column postmeter.ledger_month.remittances_dropped is 'How many remittances are gone.';
