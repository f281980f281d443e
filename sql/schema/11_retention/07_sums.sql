-- What a billing month came to, written down before it is dropped.

-- What meters came to, before they go.
create function postmeter.sum_meters(meters bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off set enable_hashjoin = off
    set enable_mergejoin = off set enable_seqscan = off
as $$
begin
    -- the row does not take what does not add up (dropped_meter_closes)
    insert into postmeter.dropped_meter (id, destination_id, buyer, dimension, month, product, rounding, decimals,
        month_end, billed, carried,
        billable, denominator, cuts, common, recorded, accepted, held, expired, written_off, dry_run, covered, remains)
    select m.id, m.destination_id, m.buyer, m.dimension, m.month,
           (select min(mm.product) from postmeter.meter_metric mm where mm.meter_id = m.id),
           m.rounding, m.decimals, m.month_end, m.billed, m.carried, m.billable, m.denominator, m.cuts,
           b.denominator, coalesce(b.recorded, 0), coalesce(b.accepted, 0), coalesce(b.held, 0), coalesce(b.expired, 0),
           coalesce(b.written_off, 0), coalesce(b.dry_run, 0), coalesce(b.covered, 0), coalesce(b.carried, 0)
    from postmeter.meter m
    left join lateral (select x.* from postmeter.balance x where x.meter_id = m.id offset 0) b on true
    where m.id = any (sum_meters.meters);
    -- usage_balance asks per month of the ledger
    insert into postmeter.ledger_carry (month, place, org, product, metric, destination_id, usages, quantity)
    select k.month, 'allocated', k.org, k.product, k.metric, k.destination_id, sum(k.usages), sum(k.quantity)
    from postmeter.meter_metric mm
    join postmeter.ledger_carry k on k.meter_metric_id = mm.id
    where mm.meter_id = any (sum_meters.meters)
    group by 1, 3, 4, 5, 6;
    insert into postmeter.dropped_sum (meter_id, answers, product, unit, status, reason, remittances, quantity)
    select c.meter_id, 'month_close', d.product, 'billing', d.status, d.reason, count(distinct d.id), sum(c.to_bill)
    from postmeter.cut c
    join postmeter.delivery d on d.id = c.delivery_id
    where c.meter_id = any (sum_meters.meters) and c.to_bill <> 0
        and d.status not in ('nothing_due', 'open', 'released')
    group by c.meter_id, d.product, d.status, d.reason;
    -- of its own key, whatever contract it counted on
    insert into postmeter.dropped_sum (meter_id, answers, product, unit, status, reason, shadow, remittances, used,
        quantity)
    select d.meter_id, 'remittance', d.product, 'billing', d.status, d.reason, d.shadow, count(*),
        sum(coalesce(d.shown_quantity, d.quantity)), sum(d.quantity)
    from postmeter.delivery d
    where d.meter_id = any (sum_meters.meters)
    group by d.meter_id, d.product, d.status, d.reason, d.shadow;
    perform postmeter.sum_orgs(sum_meters.meters);
    perform postmeter.sum_unremitted(sum_meters.meters);
end
$$;
comment on function postmeter.sum_meters(bigint[]) is
    'Writes down what these meters came to, before they are dropped: what balance, usage_balance, month_close, '
    'remittance_summary and unremitted will say of them.';

create function postmeter.sum_orgs(meters bigint[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp set jit = off set enable_hashjoin = off
    set enable_mergejoin = off set enable_seqscan = off
as $$
    -- as remittance_summary counts it
    with counted as materialized (
        select k.org, s.account, k.product, k.metric, mm.meter_id, k.delivery_id, sum(k.usages)::bigint as usages,
            sum(k.quantity) as used
        from postmeter.meter_metric mm
        join postmeter.ledger_carry k on k.meter_metric_id = mm.id
        left join postmeter.subscription s on s.id = k.subscription_id
        where mm.meter_id = any (sum_orgs.meters)
        group by 1, 2, 3, 4, 5, 6
    ), other as materialized (
        -- remittances that bill on the meter and count no usage of it
        select distinct m.id as meter_id, m.month, m.buyer as contract, d.id as delivery_id, d.destination_id,
            d.product, d.hour, own.buyer
        from postmeter.meter m
        join postmeter.cut k on k.meter_id = m.id and k.to_bill > 0
        join postmeter.delivery d on d.id = k.delivery_id
        join lateral (select o.buyer from postmeter.meter o where o.id = d.meter_id
                      union all select o.buyer from postmeter.dropped_meter o where o.id = d.meter_id) own on true
        where m.id = any (sum_orgs.meters)
          and not exists (select from postmeter.ledger_carry a
              join postmeter.meter_metric mm on mm.id = a.meter_metric_id
                          where a.delivery_id = d.id and mm.meter_id = m.id)
    ), placed as (
        select c.org, c.account, c.product, c.metric, c.meter_id, c.delivery_id, c.usages, c.used,
               count(*) over (partition by c.meter_id, c.delivery_id) > 1 as shared
        from counted c
        union all
        select s.org, s.account, s.product, null, o.meter_id, o.delivery_id, 0, 0,
               exists (select from postmeter.subscription os
                       where os.destination_id = o.destination_id and os.buyer = o.buyer and os.product = o.product
                         and os.valid_from < o.hour + interval '1 hour'
                             and (os.valid_until is null or o.hour < os.valid_until)
                         and (os.org is distinct from s.org or os.account is distinct from s.account))
        from (
            select distinct s.org, s.account, s.product, o.meter_id, o.delivery_id
            from other o
            join postmeter.subscription s on s.destination_id = o.destination_id and s.buyer = o.buyer
                and s.product = o.product
             and s.valid_from < o.hour + interval '1 hour' and (s.valid_until is null or o.hour < s.valid_until)
            where o.buyer = o.contract and s.contract is null
               -- its contract is another than its buyer's
               or (s.buyer <> o.contract or s.contract is not null)
                  and (exists (select from postmeter.contract_member k
                               where k.subscription_id = s.id and k.month = o.month and k.contract = o.contract)
                       or postmeter.contract_name(s.product, s.contract) = o.contract
                          and not exists (select from postmeter.contract_member k where k.subscription_id = s.id
                              and k.month = o.month))
        ) s
        join other o on o.meter_id = s.meter_id and o.delivery_id = s.delivery_id
    )
    insert into postmeter.dropped_sum (meter_id, answers, org, account, product, metric, unit, status, shared, shadow,
        remittances, usages, used, quantity)
    select p.meter_id, 'remittance_summary', p.org, p.account, p.product, p.metric, 'billing', d.status, p.shared,
        d.shadow,
           count(*), sum(p.usages), sum(p.used),
           sum((select sum(k.to_bill) from postmeter.cut k where k.delivery_id = d.id and k.meter_id = p.meter_id
               and d.status <> 'open'))
    from placed p
    join postmeter.delivery d on d.id = p.delivery_id
    group by p.meter_id, p.org, p.account, p.product, p.metric, d.status, p.shared, d.shadow
$$;
comment on function postmeter.sum_orgs(bigint[]) is
    'What the remittances of these meters came to per org, as remittance_summary says it.';

create function postmeter.sum_unremitted(meters bigint[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp set jit = off set enable_hashjoin = off
    set enable_mergejoin = off set enable_seqscan = off
as $$
    insert into postmeter.dropped_sum (meter_id, answers, org, product, metric, unit, status, reason, remittances,
        quantity)
    -- the usage in what was never accepted
    select mm.meter_id, 'unremitted', k.org, k.product, k.metric, 'metric', d.status, d.reason, count(distinct d.id),
        sum(k.quantity)
    from postmeter.meter_metric mm
    join postmeter.ledger_carry k on k.meter_metric_id = mm.id
    join postmeter.delivery d on d.id = k.delivery_id
    where mm.meter_id = any (sum_unremitted.meters) and d.status not in ('accepted', 'nothing_due', 'released')
        and not d.shadow
    group by mm.meter_id, k.org, k.product, k.metric, d.status, d.reason
    union all
    -- what such a remittance was given by releases, or bills without usage of its own
    select m.id, 'unremitted', s.org, d.product, null, 'billing', d.status, d.reason, count(*), sum(g.quantity)
    from postmeter.meter m
    join postmeter.delivery d on d.meter_id = m.id
    cross join lateral (select case when exists (select from postmeter.ledger_carry k where k.delivery_id = d.id)
                                    then (select sum(c.quantity) from postmeter.decision c
                                        where c.target_delivery_id = d.id and c.verb = 'release')
                                    else d.quantity end as quantity) g
    left join lateral (select distinct x.org from postmeter.subscription x
                       where x.destination_id = m.destination_id and x.buyer = m.buyer and x.product = d.product
                         and x.valid_from < d.hour + interval '1 hour'
                             and (x.valid_until is null or d.hour < x.valid_until)) s on true
    where m.id = any (sum_unremitted.meters) and d.status not in ('accepted', 'nothing_due', 'released', 'open')
        and not d.shadow and g.quantity > 0
    group by m.id, s.org, d.product, d.status, d.reason
    union all
    -- what was given back, and no hour has billed it
    select m.id, 'unremitted', s.org, l.product, null, 'billing', 'released', null, 1, m.billable
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id and t.shadow_of is null
    cross join lateral (select d.product, d.hour from postmeter.delivery d where d.meter_id = m.id order by d.hour desc
        limit 1) l
    left join lateral (select distinct x.org from postmeter.contract_subscriptions(m.destination_id, m.buyer,
        m.month) b(subscription_id)
                       join postmeter.subscription x on x.id = b.subscription_id and x.product = l.product
                        and x.valid_from < l.hour + interval '1 hour'
                            and (x.valid_until is null or l.hour < x.valid_until)) s on true
    where m.id = any (sum_unremitted.meters) and m.billable > 0
$$;
comment on function postmeter.sum_unremitted(bigint[]) is
    'What of these meters was not accepted, per org, metric and status, as unremitted says it of each remittance.';
