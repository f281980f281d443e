-- A recount moves usage.

create function postmeter.recount_lock(sources bigint[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    meters bigint[];
begin
    -- made before any lock is taken, in the order of their keys, as fold makes them
    insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
    select distinct on (1, 2, 3, 4)
           w.to_destination, x.buyer, w.to_dimension, x.month, coalesce(i.rounding, n.rounding),
           coalesce(i.decimals, n.decimals), coalesce(i.month_end, n.month_end)
    from postmeter.recount_ways(sources) w
    join postmeter.dimension n on n.id = w.to_dimension_id
    join postmeter.destination t on t.id = w.to_destination
    cross join lateral (select w.to_buyer, w.key_month
                        union select w.to_contract, w.month
                        union select w.to_buyer, postmeter.month_of(postmeter.clock(), t.zone)
                            where t.late_policy = 'part') x(buyer, month)
    left join lateral postmeter.dimension_in(w.to_destination, w.to_dimension, x.month) i on true
    where w.reason is null and w.to_exemption is null
    order by 1, 2, 3, 4
    on conflict do nothing;
    insert into postmeter.meter_metric (meter_id, product, metric, factor_numerator, factor_denominator)
    select distinct on (1, 2, 3) m.id, n.product, n.metric, n.factor_numerator, n.factor_denominator
    from postmeter.recount_ways(sources) w
    join postmeter.dimension n on n.id = w.to_dimension_id
    join postmeter.meter m on m.destination_id = w.to_destination and m.buyer = w.to_contract
        and m.dimension = w.to_dimension
     and m.month = w.month
    where w.reason is null and w.to_exemption is null
    order by 1, 2, 3
    on conflict do nothing;
    meters := array(
        select k.meter_id from postmeter.cut k where k.delivery_id = any (sources)
        union
        select mm.meter_id from postmeter.recount_ways(sources) w
            join postmeter.meter_metric mm on mm.id = w.meter_metric_id
        union
        select m.id
        from postmeter.recount_ways(sources) w
        join postmeter.meter m on m.destination_id = w.to_destination and m.dimension = w.to_dimension
         and (m.buyer = w.to_buyer and m.month >= w.key_month or (m.buyer, m.month) = (w.to_contract, w.month)));
    perform postmeter.lock_meters(array(
        select g.id from unnest(meters) g(id)
        union
        select s.other_id from unnest(meters) g(id) cross join lateral postmeter.shares_cover(g.id) s));
    perform 1 from postmeter.delivery d
    where d.id = any (sources) or d.id in (
        select b.delivery_id
        from postmeter.recount_ways(sources) w
        cross join lateral postmeter.recount_beside(w.to_destination, w.to_buyer, w.to_dimension, w.hour, w.to_identity,
                                                    w.to_product, w.to_contract, sources) b)
    order by d.id for update;
end
$$;
comment on function postmeter.recount_lock(bigint[]) is
    'Makes the meters that a recount needs, and locks them, those that count now and all remittances on which it '
    'depends: meters first, each in order.';

create function postmeter.recount_meter(meter bigint) returns void
language sql set search_path = pg_catalog, pg_temp
as $$
    update postmeter.meter m
    set carried = trim_scale(t.units - m.billed * t.denominator), denominator = t.denominator,
        -- what an hour has to take: what is owed by now, and no more than there was besides
        billable = trim_scale(greatest(
            0, postmeter.round_units(t.units, t.denominator, m.rounding, m.decimals) - m.billed,
            least(m.billable, postmeter.round_units(t.units, t.denominator,
                case when m.month_end = 'round_up' then 'up' else m.rounding end, m.decimals) - m.billed)))
    from (select k.denominator, sum((k.used - k.covered) * k.factor_numerator * (k.denominator / k.factor_denominator))
        as units
          from (select mm.*, postmeter.lcm_of(mm.factor_denominator) over () as denominator
                from postmeter.meter_metric mm where mm.meter_id = recount_meter.meter) k
          group by 1) t
    where m.id = recount_meter.meter
$$;
comment on function postmeter.recount_meter(bigint) is
    'Brings a locked meter''s carried and billable up to what it has used, covered and billed.';

create function postmeter.recount_open(meter_id bigint, hour timestamptz, identity jsonb, product text)
returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    d      postmeter.delivery;
    opened bigint;
begin
    select x.* into d from postmeter.delivery x where x.meter_id = recount_open.meter_id and x.hour = recount_open.hour;
    if d.status is distinct from 'released' then
        opened := postmeter.open_hour_at(meter_id, hour, identity, product);
        if d.status = 'nothing_due' then
            update postmeter.delivery u set identity = recount_open.identity, product = recount_open.product
                where u.id = opened;
        end if;
        return opened;
    end if;
    -- its quantity was given back when it was released: what it is cut for now is all it bills
    insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried,
        deferred, metrics)
    select d.id, m.id, least(min(k.round), 0) - 1, m.denominator, trim_scale(m.carried + m.billed * m.denominator),
        m.billed,
           -sum(k.to_bill), m.carried, false, '[]'
    from postmeter.cut k join postmeter.meter m on m.id = k.meter_id
    where k.delivery_id = d.id
    group by m.id having sum(k.to_bill) <> 0;
    update postmeter.delivery u
    set status = 'open', reason = null, quantity = null, body = null, batch_group = null, idempotency_key = null,
        identity = recount_open.identity, product = recount_open.product, confirmed = null, shown_quantity = null,
        tries = 0, deaths = 0, batch_limit = null, deadline = postmeter.deadline_of(m.destination_id, m.buyer, d.hour),
        opened_at = postmeter.clock(), changed_at = postmeter.clock(),
        -- what was attempted before is of an earlier cut
        cut_at = postmeter.clock()
    from postmeter.meter m
    where u.id = d.id and m.id = d.meter_id;
    insert into postmeter.open_hour (delivery_id, destination_id, hour)
    values (d.id, d.destination_id, d.hour) on conflict do nothing;
    return d.id;
end
$$;
comment on function postmeter.recount_open(bigint, timestamptz, jsonb, text) is
    'Opens the hour of a key for usage that is counted again, also one that was released: every attempt of it is '
    'proven not accepted, and its idempotency key counts the release. Null: it was sent. Meters and remittances '
    'are locked.';

create function postmeter.recount_late(
    meter_id bigint, destination_id integer, buyer text, dimension text, identity jsonb, product text
) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    target bigint := postmeter.open_target(meter_id, identity, product);
begin
    if target is null then
        -- as a part of the running hour of the key under which it is sent by now
        select postmeter.open_hour_at(m.id, postmeter.hour_of(postmeter.clock()), recount_late.identity,
            recount_late.product) into target
        from postmeter.destination t
        join postmeter.meter m on m.destination_id = t.id and m.buyer = recount_late.buyer
            and m.dimension = recount_late.dimension
         and m.month = postmeter.month_of(postmeter.clock(), t.zone)
        where t.id = recount_late.destination_id and t.late_policy = 'part';
    end if;
    return target;
end
$$;
comment on function postmeter.recount_late(bigint, integer, text, text, jsonb, text) is
    'Opens the hour that takes usage which a recount counts as late: by open_target, else by policy the running '
    'hour of the key of today''s catalogue.';

create function postmeter.recount_move(d postmeter.delivery, sources bigint[], who text, why text, detail jsonb)
returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    w        record;
    key      bigint;
    counts   bigint;
    metric   bigint;
    target   bigint;
    late     boolean;
    decided  bigint;
    usages   bigint := 0;
    moved    jsonb := '[]';
    kept     jsonb := '[]';
    now      timestamptz := postmeter.clock();
begin
    -- read once: what today's catalogue says is the same for all that follows
    select coalesce(jsonb_agg(to_jsonb(x)), '[]') into kept from postmeter.recount_ways(sources) x;
    -- the old totals are taken back
    update postmeter.meter_metric mm
    set used = trim_scale(mm.used - g.quantity), usages = mm.usages - g.usages,
        covered = trim_scale(greatest(0, least(mm.used - g.quantity, mm.covered)))
    from (select (k.way ->> 'meter_metric_id')::bigint as id, sum((k.way ->> 'quantity')::numeric) as quantity,
                 sum(jsonb_array_length(k.way -> 'usages')) as usages
          from jsonb_array_elements(kept) k(way) group by 1) g
    where mm.id = g.id;
    update postmeter.meter m
    set billed = trim_scale(m.billed - k.to_bill)
    from (select x.meter_id, sum(x.to_bill) as to_bill from postmeter.cut x where x.delivery_id = d.id group by 1) k
    where m.id = k.meter_id;
    perform postmeter.recount_meter(m.id)
    from (select x.meter_id as id from postmeter.cut x where x.delivery_id = d.id
          union
          select mm.meter_id from jsonb_array_elements(kept) k(way)
          join postmeter.meter_metric mm on mm.id = (k.way ->> 'meter_metric_id')::bigint) m;
    update postmeter.delivery u
    set status = 'released', reason = null, releases = u.releases + 1, changed_at = now,
        body = coalesce(u.body, ''), batch_group = coalesce(u.batch_group, ''),
        idempotency_key = coalesce(u.idempotency_key, '00000000-0000-0000-0000-000000000000')
    where u.id = d.id;
    perform set_config('postmeter.ends_allocations', 'on', true);
    for w in
        select k.* from jsonb_array_elements(kept) j(way)
        cross join lateral jsonb_to_record(j.way) k(delivery_id bigint, destination_id integer, hour timestamptz,
            subscription_id bigint, meter_metric_id bigint, usages uuid[], quantity numeric, to_destination integer,
                to_subscription bigint, to_buyer text,
            to_identity jsonb, to_product text, to_dimension text, to_exemption bigint, to_contract text,
                key_month date,
            month date, metric text)
    loop
        usages := usages + cardinality(w.usages);
        if w.to_exemption is not null then
            delete from postmeter.allocation a where a.usage_id = any (w.usages)
                and a.destination_id = w.destination_id;
            insert into postmeter.exempted (usage_id, exemption_id) select g.id, w.to_exemption
                from unnest(w.usages) g(id);
            moved := moved || jsonb_build_object('delivery_id', w.delivery_id, 'meter_metric_id', w.meter_metric_id,
                'subscription_id', w.subscription_id, 'exemption_id',
                w.to_exemption, 'is_late', false, 'usages', cardinality(w.usages), 'quantity', w.quantity);
            continue;
        end if;
        select m.id into strict key from postmeter.meter m
        where m.destination_id = w.to_destination and m.buyer = w.to_buyer and m.dimension = w.to_dimension
            and m.month = w.key_month;
        select m.id, mm.id into strict counts, metric
        from postmeter.meter m
        join postmeter.meter_metric mm on mm.meter_id = m.id and mm.product = w.to_product and mm.metric = w.metric
        where m.destination_id = w.to_destination and m.buyer = w.to_contract and m.dimension = w.to_dimension
            and m.month = w.month;
        late := postmeter.recount_obstacle(w.to_destination, w.to_buyer, w.to_dimension, w.hour, w.to_identity,
            w.to_product,
                                           w.to_contract, sources) is not null;
        target := case when late then postmeter.recount_late(counts, w.to_destination, w.to_buyer, w.to_dimension,
            w.to_identity, w.to_product)
                       else postmeter.recount_open(key, w.hour, w.to_identity, w.to_product) end;
        if target is null then
            raise exception 'usage of remittance % finds no hour', w.delivery_id
                using errcode = 'PM034', column = 'delivery', constraint = 'recount_target', hint = 'Say it again.';
        end if;
        insert into postmeter.part (delivery_id, meter_id)
        select x.id, counts from postmeter.delivery x where x.id = target
            and x.meter_id <> counts on conflict do nothing;
        update postmeter.allocation a
        set destination_id = w.to_destination, delivery_id = target, meter_metric_id = metric,
            subscription_id = w.to_subscription,
            round = (select x.round from postmeter.delivery x where x.id = target)
        where a.usage_id = any (w.usages) and a.destination_id = w.destination_id;
        moved := moved || jsonb_build_object('delivery_id', w.delivery_id, 'meter_metric_id', w.meter_metric_id,
            'subscription_id', w.subscription_id, 'target_delivery_id',
            target, 'target_meter_metric_id', metric, 'is_late', late, 'usages', cardinality(w.usages), 'quantity',
                w.quantity);
    end loop;
    perform set_config('postmeter.ends_allocations', 'off', true);
    -- where the quantity of the remittance itself went
    select (m.row ->> 'target_delivery_id')::bigint into target
    from jsonb_array_elements(moved) m(row) order by (m.row ->> 'delivery_id')::bigint <> d.id limit 1;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity,
        target_delivery_id, detail)
    select who, why, 'recount', d.id, d.status, x.status, d.quantity, target,
        detail || jsonb_build_object('usages', usages)
    from postmeter.delivery x where x.id = d.id
    returning id into decided;
    insert into postmeter.recounted (decision_id, delivery_id, meter_metric_id, subscription_id, target_delivery_id,
        target_meter_metric_id,
                                     exemption_id, is_late, usages, quantity)
    select decided, r.delivery_id, r.meter_metric_id, r.subscription_id, r.target_delivery_id, r.target_meter_metric_id,
        r.exemption_id, r.is_late,
           r.usages, r.quantity
    from jsonb_array_elements(moved) m(row)
    cross join lateral jsonb_to_record(m.row) r(delivery_id bigint, meter_metric_id bigint, subscription_id bigint,
        target_delivery_id bigint,
        target_meter_metric_id bigint, exemption_id bigint, is_late boolean, usages bigint, quantity numeric);
    return (select format('%s: %s', postmeter.counted(usages, 'usage'),
                          string_agg(distinct case when (m.row ->> 'exemption_id') is not null then 'exempt by now'
                              else format('in remittance %s%s', m.row ->> 'target_delivery_id',
                                          case when (m.row ->> 'is_late')::boolean then ' as late usage'
                                              else '' end) end, ', '))
            from jsonb_array_elements(moved) m(row));
end
$$;
comment on function postmeter.recount_move(postmeter.delivery, bigint[], text, text, jsonb) is
    'Takes back what a remittance and its sources have counted, and allocates their usage by today''s catalogue; '
    'returns where it went, in words. Everything is locked and was looked at.';

create function postmeter.recount(
    filter jsonb, who text, why text, dry_run boolean default true, late boolean default false
) returns table (delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    d       postmeter.delivery;
    dead    bigint;
    sources bigint[];
    way     record;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.month_gate();
    for dead in select b.id from postmeter.deliveries_by(filter) b order by 1 loop
        sources := array(select s.delivery_id from postmeter.recount_sources(dead) s order by 1);
        note := postmeter.recount_look(dead, filter, late);
        if note is null and not dry_run then
            perform postmeter.recount_lock(sources);
            -- later statements than the last lock: what somebody else has done meanwhile counts
            note := case when sources <> array(select s.delivery_id from postmeter.recount_sources(dead) s order by 1)
                         then 'somebody else has it in hand: say it again'
                             else postmeter.recount_look(dead, filter, late) end;
        end if;
        select x.* into d from postmeter.delivery x where x.id = dead;
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := d.status; quantity := d.quantity;
        if note is null and dry_run then
            select bool_or(w.to_destination = d.destination_id and k.key = d.key) as is_same,
                   format('%s: %s', postmeter.counted(sum(cardinality(w.usages)), 'usage'),
                          string_agg(distinct coalesce('to ' || k.key, 'exempt by now'), ', ')) as says into way
            from postmeter.recount_ways(sources) w
            cross join lateral (select case when w.to_exemption is null
                                            then postmeter.remittance_key(w.to_buyer, w.to_dimension,
                                                w.hour) end as key) k;
            status_after := case when way.is_same then 'open' else 'released' end;
            note := way.says;
        elsif note is null then
            note := postmeter.recount_move(d, sources, who, why,
                jsonb_strip_nulls(jsonb_build_object('filter', filter - 'within', 'reason', d.reason)));
            select x.status into status_after from postmeter.delivery x where x.id = d.id;
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.recount(jsonb, text, text, boolean, boolean) is
    'Counts the usage of dead letters again, by today''s catalogue and in its own hour: takes back what they '
    'counted, with the remainders and cover that went into it. Only where every attempt of that contract, '
    'dimension and hour under any key, and of that hour of the new key, is proven not accepted; else it names what '
    'stands in the way, and with late counts it as late usage. Refused while maybe billed, and in a closed month. '
    'One call is one transaction: name one remittance where one counts very many usages. Dry run unless told '
    'otherwise.';
