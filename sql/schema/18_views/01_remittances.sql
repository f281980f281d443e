-- Remittances, and their summary.

create view postmeter.remittance as
    select d.id as delivery_id, t.name as destination, d.key, d.hour, d.product, m.dimension, m.month, m.buyer,
      d.status, d.reason, d.maybe_billed, d.confirmed, d.quantity, d.shown_quantity,
      p.unit_price *
        case
          when d.status = 'accepted' then coalesce(d.shown_quantity, d.quantity)
          else d.quantity
        end as amount, p.currency, d.deadline, d.tries, d.attempts, d.idempotency_key, d.opened_at, d.cut_at,
      d.changed_at, d.shadow, o.orgs
     from postmeter.delivery d
      join postmeter.destination t on t.id = d.destination_id
      join postmeter.meter m on m.id = d.meter_id
      left join lateral ( select x.unit_price,
          x.currency
         from postmeter.dimension x
         where x.destination_id = m.destination_id and x.name = m.dimension and x.product = d.product
             and x.valid_from <= m.month
         order by x.valid_from desc, x.id
        limit 1) p on true
      cross join lateral ( select array( select distinct s.org
             from ( select distinct x.subscription_id as id
                 from postmeter.allocation x
                 where x.delivery_id = d.id) a
              cross join lateral ( select y.org
                 from postmeter.subscription y
                 where y.id = a.id
                offset 0) s
             order by s.org) as orgs) o
     where d.kind = 'usage';
comment on view postmeter.remittance is
    'Every remittance: what is owed to a marketplace for one key, and where it stands. Without a price, amount is '
    'null: unpriced, never zero. Those of a shadow are never sent and are owed to nobody.';
comment on column postmeter.remittance.delivery_id is 'Its number; what the other views refer to.';
comment on column postmeter.remittance.destination is 'Name of the destination.';
comment on column postmeter.remittance.key is 'Canonical key.';
comment on column postmeter.remittance.hour is 'The hour it reports.';
comment on column postmeter.remittance.product is 'Our product.';
comment on column postmeter.remittance.dimension is 'The marketplace''s dimension.';
comment on column postmeter.remittance.month is 'First day of the billing month.';
comment on column postmeter.remittance.buyer is 'The buyer in canonical text.';
comment on column postmeter.remittance.status is 'Where it stands.';
comment on column postmeter.remittance.reason is 'Why it is held.';
comment on column postmeter.remittance.maybe_billed is 'An attempt may have arrived and nothing has resolved it.';
comment on column postmeter.remittance.confirmed is
    'Accepted: whether they confirmed the quantity; a bare duplicate does not.';
comment on column postmeter.remittance.quantity is 'Billing units, frozen by the cut; null while open.';
comment on column postmeter.remittance.shown_quantity is 'What they showed that they hold.';
comment on column postmeter.remittance.amount is
    'Quantity times unit price; of what counts as they hold it, their quantity. Null: unpriced.';
comment on column postmeter.remittance.currency is 'Of the price.';
comment on column postmeter.remittance.deadline is 'Last moment at which it may be sent, margin taken off.';
comment on column postmeter.remittance.tries is 'Attempts that count against the policy.';
comment on column postmeter.remittance.attempts is 'All attempts.';
comment on column postmeter.remittance.idempotency_key is 'UUIDv5 of destination, key and releases.';
comment on column postmeter.remittance.opened_at is 'When its hour was opened, or opened again.';
comment on column postmeter.remittance.cut_at is 'When it was cut last.';
comment on column postmeter.remittance.changed_at is 'When its status last changed.';
comment on column postmeter.remittance.shadow is 'Its destination is a shadow: owed to nobody.';
comment on column postmeter.remittance.orgs is
    'The orgs whose usage is in it: several, where they buy through one account.';

create view postmeter.remittance_summary as
    with part as (
        select s.org, s.account, mm.product, mm.metric, mm.meter_id, c.month, a.delivery_id,
          count(*) as usages,
          sum(a.quantity) as used
         from postmeter.subscription s
          cross join ( select m_1.month
             from postmeter.meter m_1
             group by m_1.month) c
          join postmeter.allocation a on a.subscription_id = s.id
              and a.hour >= ((c.month::timestamp without time zone at time zone 'UTC'::text) - '1 day'::interval)
              and a.hour < (((c.month + '1 mon'::interval) at time zone 'UTC'::text) + '1 day'::interval)
          join postmeter.meter_metric mm on mm.id = a.meter_metric_id
          join postmeter.meter m on m.id = mm.meter_id and m.month = c.month
         group by s.org, s.account, mm.product, mm.metric, mm.meter_id, c.month, a.delivery_id
        union all
        select k.org, s.account, k.product, k.metric, mm.meter_id, c.month, k.delivery_id,
          sum(k.usages)::bigint as usages,
          sum(k.quantity) as used
         from ( select m_1.month
             from postmeter.meter m_1
             group by m_1.month) c
          join postmeter.ledger_carry k on k.hour >=
              ((c.month::timestamp without time zone at time zone 'UTC'::text) - '1 day'::interval)
              and k.hour < (((c.month + '1 mon'::interval) at time zone 'UTC'::text) + '1 day'::interval)
          join postmeter.meter_metric mm on mm.id = k.meter_metric_id
          join postmeter.meter m on m.id = mm.meter_id and m.month = c.month
          left join postmeter.subscription s on s.id = k.subscription_id
         group by k.org, s.account, k.product, k.metric, mm.meter_id, c.month, k.delivery_id
        ), counted as (
        select p_1.org, p_1.account, p_1.product, p_1.metric, p_1.meter_id, p_1.month, p_1.delivery_id,
          sum(p_1.usages)::bigint as usages,
          sum(p_1.used) as used
         from part p_1
         group by p_1.org, p_1.account, p_1.product, p_1.metric, p_1.meter_id, p_1.month, p_1.delivery_id
        union all
        select s.org, s.account, s.product,
          null::text as metric,
          m.id, m.month, k.delivery_id, 0 as usages, 0 as used
         from postmeter.subscription s
          join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = s.buyer and s.contract is null
          join postmeter.cut k on k.meter_id = m.id and k.to_bill > 0::numeric
          join postmeter.delivery d on d.id = k.delivery_id and d.product = s.product
              and s.valid_from < (d.hour + '01:00:00'::interval) and (s.valid_until is null or d.hour < s.valid_until)
          join postmeter.meter own on own.id = d.meter_id and own.buyer = m.buyer
         where not (exists ( select
             from postmeter.allocation a
              join postmeter.meter_metric mm on mm.id = a.meter_metric_id
             where a.delivery_id = k.delivery_id and mm.meter_id = k.meter_id)) and not (exists ( select
             from postmeter.ledger_carry a
              join postmeter.meter_metric mm on mm.id = a.meter_metric_id
             where a.delivery_id = k.delivery_id and mm.meter_id = k.meter_id))
         group by s.org, s.account, s.product, m.id, m.month, k.delivery_id
        union all
        select s.org, s.account, s.product,
          null::text as metric,
          m.id, m.month, k.delivery_id, 0 as usages, 0 as used
         from ( select k_1.subscription_id,
              k_1.month, k_1.contract
             from postmeter.contract_member k_1
            union all
            select x.id, m_1.month, m_1.buyer
             from postmeter.subscription x
              join postmeter.meter m_1 on m_1.destination_id = x.destination_id
                  and m_1.buyer = postmeter.contract_name(x.product, x.contract)
             where x.contract is not null and not (exists ( select
                 from postmeter.contract_member k_1
                 where k_1.subscription_id = x.id and k_1.month = m_1.month))
             group by x.id, m_1.month, m_1.buyer) o
          join postmeter.subscription s on s.id = o.subscription_id
              and (s.buyer <> o.contract or s.contract is not null)
          join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = o.contract and m.month = o.month
          join postmeter.cut k on k.meter_id = m.id and k.to_bill > 0::numeric
          join postmeter.delivery d on d.id = k.delivery_id and d.product = s.product
              and s.valid_from < (d.hour + '01:00:00'::interval) and (s.valid_until is null or d.hour < s.valid_until)
          join postmeter.meter own on own.id = d.meter_id and own.buyer = s.buyer
         where not (exists ( select
             from postmeter.allocation a
              join postmeter.meter_metric mm on mm.id = a.meter_metric_id
             where a.delivery_id = k.delivery_id and mm.meter_id = k.meter_id)) and not (exists ( select
             from postmeter.ledger_carry a
              join postmeter.meter_metric mm on mm.id = a.meter_metric_id
             where a.delivery_id = k.delivery_id and mm.meter_id = k.meter_id))
         group by s.org, s.account, s.product, m.id, m.month, k.delivery_id
        ), whole as (
        select c.org, c.account, c.product, c.metric, c.month, c.usages, c.used, d.destination_id, d.status,
          d.shadow, m.dimension, b.billed, case
              when c.usages > 0 then (exists ( select
               from postmeter.allocation o
                join postmeter.subscription os on os.id = o.subscription_id
                join postmeter.meter_metric om on om.id = o.meter_metric_id
               where o.delivery_id = c.delivery_id and om.meter_id = c.meter_id
                   and (os.org is distinct from c.org or os.account is distinct from c.account or om.product is distinct
                   from c.product or om.metric is distinct from c.metric))) or (exists ( select
               from postmeter.ledger_carry o
                join postmeter.meter_metric om on om.id = o.meter_metric_id
                left join postmeter.subscription os on os.id = o.subscription_id
               where o.delivery_id = c.delivery_id and om.meter_id = c.meter_id
                   and (o.org is distinct from c.org or os.account is distinct from c.account or o.product is distinct
                   from c.product or o.metric is distinct from c.metric)))
              else (exists ( select
               from postmeter.subscription os
               where os.destination_id = d.destination_id and os.buyer = own.buyer and os.product = d.product
                   and os.valid_from < (d.hour + '01:00:00'::interval)
                   and (os.valid_until is null or d.hour < os.valid_until)
                   and (os.org is distinct from c.org or os.account is distinct from c.account)))
            end as shared
         from counted c
          join postmeter.delivery d on d.id = c.delivery_id
          join postmeter.meter m on m.id = c.meter_id
          join postmeter.meter own on own.id = d.meter_id
          left join lateral ( select sum(k.to_bill) as billed
             from postmeter.cut k
             where k.delivery_id = c.delivery_id and k.meter_id = c.meter_id and d.status <> 'open'::text) b on true
        )
    select w.org, w.account, w.product, w.metric, t.name as destination, w.month, w.status, w.shared,
      w.dimension,
      count(*) as remittances,
      sum(w.usages)::bigint as usages,
      trim_scale(sum(w.used)) as used,
      trim_scale(sum(w.billed)) as quantity,
      trim_scale(sum(w.billed) * p.unit_price) as amount,
      p.currency, w.shadow
     from whole w
      join postmeter.destination t on t.id = w.destination_id
      left join lateral ( select x.unit_price,
          x.currency
         from postmeter.dimension x
         where x.destination_id = w.destination_id and x.name = w.dimension and x.product = w.product
             and x.valid_from <= w.month
         order by x.valid_from desc, x.id
        limit 1) p on true
     group by w.org, w.account, w.product, w.metric, t.name, w.month, w.status, w.shared, w.dimension, w.shadow,
         p.unit_price, p.currency
    union all
    select s.org, s.account, s.product, s.metric, t.name as destination, k.month, s.status, s.shared,
      k.dimension,
      sum(s.remittances)::bigint as remittances,
      sum(s.usages)::bigint as usages,
      trim_scale(sum(s.used)) as used,
      trim_scale(sum(s.quantity)) as quantity,
      trim_scale(sum(s.quantity) * p.unit_price) as amount,
      p.currency, s.shadow
     from postmeter.dropped_sum s
      join postmeter.dropped_meter k on k.id = s.meter_id
      join postmeter.destination t on t.id = k.destination_id
      left join lateral ( select x.unit_price,
          x.currency
         from postmeter.dimension x
         where x.destination_id = k.destination_id and x.name = k.dimension and x.product = s.product
             and x.valid_from <= k.month
         order by x.valid_from desc, x.id
        limit 1) p on true
     where s.answers = 'remittance_summary'::text
     group by s.org, s.account, s.product, s.metric, t.name, k.month, s.status, s.shared, k.dimension, s.shadow,
         p.unit_price, p.currency;
comment on view postmeter.remittance_summary is
    'What the remittances of an org came to: per org, account, product, metric, destination, month and status, how '
    'many there are, the usage in them (units of the metric) and what they bill (billing units, and at the price '
    'of the dimension; one currency a row, null: unpriced). Where others are in the same remittances (shared), the '
    'billing units are those of the whole remittance: rounded once for all, they are nobody''s share, so shared '
    'rows are not to be added up over orgs, accounts or metrics; used always is. What was released is billed with '
    'another remittance, whose row has it too: rows of status released are not to be added to the others. Quick by '
    'org and month.';
comment on column postmeter.remittance_summary.org is 'The org.';
comment on column postmeter.remittance_summary.account is 'Which marketplace account, where the org has several.';
comment on column postmeter.remittance_summary.product is 'Our product.';
comment on column postmeter.remittance_summary.metric is 'Our metric; null: quantity that came from other hours alone.';
comment on column postmeter.remittance_summary.destination is 'Name of the destination.';
comment on column postmeter.remittance_summary.month is 'First day of the billing month of the usage.';
comment on column postmeter.remittance_summary.status is 'Where these remittances stand.';
comment on column postmeter.remittance_summary.shared is 'Other orgs, accounts or metrics are in the same remittances.';
comment on column postmeter.remittance_summary.dimension is 'The marketplace''s dimension.';
comment on column postmeter.remittance_summary.remittances is 'How many.';
comment on column postmeter.remittance_summary.usages is 'Usages of this org and metric in them.';
comment on column postmeter.remittance_summary.used is 'Their quantity, in units of the metric.';
comment on column postmeter.remittance_summary.quantity is
    'Billing units for this month; null: not cut yet. Of status released: what another remittance has now.';
comment on column postmeter.remittance_summary.amount is 'Quantity times unit price; null: unpriced.';
comment on column postmeter.remittance_summary.currency is 'Of the price; one a row.';
comment on column postmeter.remittance_summary.shadow is 'Of a shadow: nothing of it was billed.';
