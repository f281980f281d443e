-- What a recount would move, and what stands in its way.

create function postmeter.recount_sources(delivery bigint) returns table (delivery_id bigint)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with recursive given as (
        select recount_sources.delivery as id
        union
        -- quantity that a release gave to it
        select c.delivery_id
        from given g
        join postmeter.decision c on c.target_delivery_id = g.id and c.verb = 'release'
        join postmeter.delivery d on d.id = c.delivery_id and d.status = 'released'
        where c.id = (select max(x.id) from postmeter.decision x where x.delivery_id = c.delivery_id
            and x.verb = 'release')
    ), meters as materialized (
        select distinct k.meter_id from postmeter.cut k where k.delivery_id in (select g.id from given g)
    ), kept as materialized (
        -- what each of the meters has billed last, and keeps
        select b.meter_id, max(b.at) as at
        from (select k.meter_id, k.delivery_id, max(k.cut_at) as at
              from postmeter.cut k
              join postmeter.delivery d on d.id = k.delivery_id and d.status <> 'released'
              where k.meter_id in (select m.meter_id from meters m) and k.delivery_id not in (select g.id from given g)
              group by 1, 2 having sum(k.to_bill) > 0) b
        group by 1
    )
    select g.id from given g
    union
    -- hours that had nothing to bill: what they carried, or covered, is in what was refused
    select d.id
    from meters m
    join postmeter.cut k on k.meter_id = m.meter_id and k.round >= 0
    join postmeter.delivery d on d.id = k.delivery_id and d.status = 'nothing_due'
    left join kept b on b.meter_id = m.meter_id
    where b.at is null or k.cut_at > b.at
$$;
comment on function postmeter.recount_sources(bigint) is
    'The remittances whose usage a recount of one may move: itself, those that releases gave to it, and the hours '
    'since its meters billed anything else, which had nothing to bill: their remainder and cover move along where '
    'their contract is another one by now.';

create function postmeter.recount_ways(sources bigint[])
returns table (delivery_id bigint, destination_id integer, hour timestamptz, subscription_id bigint,
    meter_metric_id bigint, org text, metric text, usages uuid[], quantity numeric, to_destination integer,
    to_subscription bigint, to_buyer text, to_identity jsonb, to_product text, to_dimension_id bigint,
    to_dimension text, to_exemption bigint, to_contract text, key_month date, month date, reason text, changes boolean)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with counted as materialized (
        select a.delivery_id, a.subscription_id, a.meter_metric_id, a.hour, a.usage_id, a.quantity, u.org, u.product,
            u.metric,
               coalesce(o.account, u.account) as account,
               postmeter.resolved_at(u.org, u.product, coalesce(o.used_at, u.used_at)) as at
        from postmeter.delivery d
        join postmeter.allocation a on a.delivery_id = d.id and a.destination_id = d.destination_id
        join postmeter.usage u on u.id = a.usage_id
        -- a correction goes with what it corrects
        left join lateral (
            select x.account, x.used_at
            from postmeter.usage x where x.id = u.corrected_id offset 0) o on u.corrected_id is not null
        where d.id = any (sources)
    ), kind as materialized (
        select k.*, row_number() over () as item
        from (select distinct c.org, c.product, c.metric, c.account, c.at from counted c) k
    ), resolved as materialized (
        select k.org, k.product, k.metric, k.account, k.at, r.destination_id, r.subscription_id, r.buyer, r.identity,
               r.dimension_id, r.exemption_id, r.reason
        from (select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p,
                     array_agg(k.metric order by k.item) m, array_agg(k.account order by k.item) a,
                     array_agg(k.at order by k.item) h from kind k) g,
             postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r
        join kind k on k.item = r.item
    ), placed as materialized (
        select c.delivery_id, d.destination_id, d.hour, c.subscription_id, c.meter_metric_id, c.org, c.metric,
               array_agg(c.usage_id) as usages, sum(c.quantity) as quantity, r.destination_id as to_destination,
               r.subscription_id as to_subscription, r.buyer, r.identity, c.product, r.dimension_id,
                   n.name as dimension,
               r.exemption_id, coalesce(k.contract,
                   (select postmeter.contract_name(e.product, e.contract) from postmeter.subscription e
                                     where e.id = r.subscription_id), r.buyer) as contract,
                                         postmeter.month_of(d.hour, t.zone) as key_month,
               postmeter.month_of(c.hour, t.zone) as month, r.reason
        from counted c
        join postmeter.delivery d on d.id = c.delivery_id
        join resolved r on r.org = c.org and r.product = c.product and r.metric = c.metric
         and r.account is not distinct from c.account and r.at = c.at
        left join postmeter.destination t on t.id = r.destination_id
        left join postmeter.dimension n on n.id = r.dimension_id
        left join postmeter.contract_member k on k.subscription_id = r.subscription_id
         and k.month = postmeter.month_of(c.hour, t.zone)
        group by c.delivery_id, d.destination_id, d.hour, c.subscription_id, c.meter_metric_id, c.org, c.metric,
            r.destination_id,
                 r.subscription_id, r.buyer, r.identity, c.product, r.dimension_id, n.name, r.exemption_id, k.contract,
                     t.zone,
                 c.hour, r.reason
    )
    select p.delivery_id, p.destination_id, p.hour, p.subscription_id, p.meter_metric_id, p.org, p.metric, p.usages,
        p.quantity,
           p.to_destination, p.to_subscription, p.buyer, p.identity, p.product, p.dimension_id, p.dimension,
               p.exemption_id,
           p.contract, p.key_month, p.month, p.reason,
           p.exemption_id is not null or x.counts_elsewhere
               or (p.to_destination, p.buyer, p.dimension, p.identity)
                  is distinct from (own.destination_id, own.buyer, own.dimension, d.identity)
    from placed p
    join postmeter.delivery d on d.id = p.delivery_id
    join postmeter.meter own on own.id = d.meter_id
    join postmeter.meter_metric mm on mm.id = p.meter_metric_id
    join postmeter.meter m on m.id = mm.meter_id
    cross join lateral (
        select (p.to_destination, p.contract, p.dimension, p.month)
               is distinct from (m.destination_id, m.buyer, m.dimension, m.month) as counts_elsewhere) x
    -- what had nothing to bill stays where it is, as long as its contract does
    where d.status <> 'nothing_due' or x.counts_elsewhere or p.exemption_id is not null
$$;
comment on function postmeter.recount_ways(bigint[]) is
    'What today''s catalogue says of the usage that these remittances count, by kind: the subscription, key and '
    'contract that it belongs to, or the reason why none takes it. changes: otherwise than when it was counted.';

create function postmeter.recount_beside(
    destination_id integer, buyer text, dimension text, hour timestamptz, identity jsonb, product text,
    contract text, sources bigint[]
) returns table (delivery_id bigint, is_target boolean)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select d.id, true
    from postmeter.meter m
    join postmeter.delivery d on d.meter_id = m.id and d.hour = recount_beside.hour
    where m.destination_id = recount_beside.destination_id and m.buyer = recount_beside.buyer
      and m.dimension = recount_beside.dimension
    union
    -- the same contract under other keys; of another form of identity in any dimension: never two forms in one hour
    select d.id, false
    from (select recount_beside.contract as buyer
          union
          select s.buyer
          from postmeter.destination t
          cross join lateral postmeter.contract_subscriptions(
              t.id, recount_beside.contract, postmeter.month_of(recount_beside.hour, t.zone)) c
          join postmeter.subscription s on s.id = c.subscription_id
          where t.id = recount_beside.destination_id
          union
          select m.buyer from postmeter.delivery x join postmeter.meter m on m.id = x.meter_id
              where x.id = any (sources)) b
    join postmeter.meter m on m.destination_id = recount_beside.destination_id and m.buyer = b.buyer
    join postmeter.delivery d on d.meter_id = m.id and d.hour = recount_beside.hour and d.id <> all (sources)
    where b.buyer <> recount_beside.buyer
      and (m.dimension = recount_beside.dimension
           or d.product = recount_beside.product
              and array(select k from jsonb_object_keys(d.identity) k order by k)
                  <> array(select k from jsonb_object_keys(recount_beside.identity) k order by k))
    union
    -- where its usage was before earlier recounts
    select d.id, false
    from postmeter.recounted r
    join postmeter.delivery d on d.id = r.delivery_id and d.hour = recount_beside.hour and d.id <> all (sources)
    where r.target_delivery_id = any (sources)
$$;
comment on function postmeter.recount_beside(integer, text, text, timestamptz, jsonb, text, text, bigint[]) is
    'Remittances on which it depends whether an hour of a key can take a contract''s usage of that hour: the hour '
    'of that very key (is_target), and that hour under other keys of the contract.';

create function postmeter.recount_obstacle(
    destination_id integer, buyer text, dimension text, hour timestamptz, identity jsonb, product text,
    contract text, sources bigint[]
) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (select format('remittance %s is %s%s', d.id, replace(d.status, '_', ' '),
                       case when d.maybe_billed then ' and may have been billed' else coalesce(': ' || c.why, '') end)
         from postmeter.recount_beside(recount_obstacle.destination_id, recount_obstacle.buyer,
             recount_obstacle.dimension,
                                       recount_obstacle.hour, recount_obstacle.identity, recount_obstacle.product,
                                       recount_obstacle.contract, recount_obstacle.sources) b
         join postmeter.delivery d on d.id = b.delivery_id
         cross join lateral (select postmeter.contradicted(d.id) as why) c
         where d.maybe_billed or c.why is not null
            or case when b.is_target then d.id <> all (sources) and d.status not in ('open', 'nothing_due', 'released')
                    else d.status in ('due', 'in_flight', 'accepted', 'unknown', 'conflict', 'dry_run', 'open') end
         order by b.is_target desc, d.id limit 1),
        case when postmeter.deadline_of(destination_id, buyer, hour) < postmeter.clock()
             then 'the hour cannot be sent any more' end)
$$;
comment on function postmeter.recount_obstacle(integer, text, text, timestamptz, jsonb, text, text, bigint[]) is
    'What keeps an hour of a key from taking a contract''s usage of that hour: a remittance of it that was, or may '
    'have been, accepted, or its deadline. Null: every attempt is proven not accepted.';

create function postmeter.recount_look(delivery bigint, filter jsonb, late boolean) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    d       postmeter.delivery;
    w       record;
    sources bigint[] := array(select s.delivery_id from postmeter.recount_sources(recount_look.delivery) s order by 1);
    told    text;
    changes boolean := false;
    held_up text;
    late_at timestamptz;
    part    record;
begin
    select x.* into d from postmeter.delivery x where x.id = recount_look.delivery;
    if d.shadow then
        return 'is a shadow''s, and is never sent';
    elsif d.maybe_billed then
        return 'may have been billed: resolve it first';
    elsif d.status = 'conflict' then
        return 'they hold a quantity under this key: resolve it or write it off';
    elsif postmeter.delivery_counts_others(d.id, filter) then
        return 'also counts usage outside the filter: name the delivery to count all of it again';
    end if;
    -- evidence about whatever would be moved
    select case when s.id = d.id then '' else format('remittance %s, whose quantity it has, ', s.id) end
        || postmeter.contradicted(s.id)
    into told
    from unnest(sources) s(id) where postmeter.contradicted(s.id) is not null limit 1;
    if told is not null then
        return told;
    end if;
    perform 1 from postmeter.ledger_carry k where k.delivery_id = any (sources);
    if found then
        return 'its usage was dropped with its month of the ledger: release it or write it off';
    end if;
    for w in
        select k.delivery_id, k.destination_id, k.hour, k.org, k.metric, k.to_destination, k.to_buyer, k.to_identity,
            k.to_product,
               k.to_dimension, k.to_exemption, k.to_contract, k.month, k.reason, k.changes, mm.meter_id
        from postmeter.recount_ways(sources) k
        join postmeter.meter_metric mm on mm.id = k.meter_metric_id
    loop
        changes := changes or w.changes;
        if w.reason is not null then
            return format('the catalogue does not take %s of %s (%s): mend it first', w.metric, w.org, w.reason);
        elsif exists (select from postmeter.meter m
                      join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
                      where m.id = w.meter_id)
              or exists (select from postmeter.closed_month c where c.destination_id = w.to_destination
                  and c.month = w.month) then
            return 'its month is closed: reopen the month first, or write it off';
        end if;
        continue when w.to_exemption is not null;
        held_up := postmeter.recount_obstacle(w.to_destination, w.to_buyer, w.to_dimension, w.hour, w.to_identity,
            w.to_product,
                                              w.to_contract, sources);
        continue when held_up is null;
        if not late then
            return
                format('its own hour cannot take it, for %s: settle that first, or let it count as late usage (--late)',
                held_up);
        end if;
        -- where the meter of its key is not there yet, nothing was sent of its month: this is asked again once it is
        -- made
        select postmeter.target_hour(m.id) into late_at
        from postmeter.meter m
        join postmeter.meter k on k.destination_id = m.destination_id and k.buyer = w.to_buyer
            and k.dimension = m.dimension
         and k.month = m.month
        where m.destination_id = w.to_destination and m.buyer = w.to_contract and m.dimension = w.to_dimension
            and m.month = w.month;
        if late_at = w.hour then
            return
                format('its own hour cannot take it, for %s, and there is no other hour yet: say it again in an hour',
                held_up);
        elsif late_at is null and (found or exists (
            select from postmeter.destination t
            where t.id = w.to_destination and postmeter.deadline_of(t.id, w.to_buyer,
                ((w.month + interval '1 month')::timestamp at time zone t.zone) - interval '1 hour') <
                    postmeter.clock())) then
            select t.late_policy = 'part' as policy, s.subscribed into part
            from postmeter.destination t
            cross join lateral (select exists (select from postmeter.subscription s
                                where s.destination_id = t.id and s.buyer = w.to_buyer
                                    and s.valid_from <= postmeter.clock()
                                  and (s.valid_until is null or postmeter.clock() < s.valid_until)) as subscribed) s
            where t.id = w.to_destination;
            if not part.policy then
                return
                    'no hour of its month can take it any more: write it off, or set the destination''s late_policy '
                        'to part';
            elsif not part.subscribed then
                return
                    'no hour of its month can take it any more, and its buyer has no subscription in whose hour it '
                        'could be a part: '
                    || 'write it off, or renew the subscription first';
            end if;
        end if;
    end loop;
    if not changes then
        return 'the catalogue says of it what it said when it was sent: mend the catalogue first, or retry it';
    end if;
    return null;
end
$$;
comment on function postmeter.recount_look(bigint, jsonb, boolean) is
    'Why a recount leaves a remittance as it is; null: it counts its usage again.';
