-- A billing month calculated anew from its usage.

create function postmeter.recalculate(destination text, month date)
returns table (buyer text, dimension text, meter_id bigint, denominator numeric, org text, product text, metric text,
    part text, reason text, quantity numeric)
language plpgsql stable set search_path = pg_catalog, pg_temp set work_mem = '128MB' set jit = off
    set enable_nestloop = off
as $$
#variable_conflict use_column
declare
    t       postmeter.destination;
    began   timestamptz;
    ended   timestamptz;
    first   uuid := '00000000-0000-0000-0000-000000000000';
    others  integer[];
begin
    perform postmeter.month_last_deadline(recalculate.destination, recalculate.month);
    perform postmeter.check_ledger_kept(recalculate.destination, recalculate.month);
    select x.* into t from postmeter.destination x where x.name = recalculate.destination;
    -- usage is with one live destination, and with each shadow: these look at different allocations
    others := array(select x.id from postmeter.destination x
                    where case when t.shadow_of is null then x.shadow_of is not null else x.id <> t.id end);
    began := recalculate.month::timestamp at time zone t.zone;
    ended := (recalculate.month + interval '1 month')::timestamp at time zone t.zone;
    -- an id is as old as its recording, and no usage is recorded before it is used by more than the lead: older
    -- partitions are not read. Where the clock may move, ids tell nothing.
    select case when s.purpose = 'production' then postmeter.id_at(began - s.usage_lead_max - interval '1 day')
        else first end
    into first from postmeter.setting s;
    return query
    with correction as materialized (
        -- a correction belongs to the hour of what it corrects
        select c.id, o.used_at, o.recorded_at
        from (select u.id, u.corrected_id
              from postmeter.usage u where u.corrected_identity is not null and u.id >= first offset 0) c
        cross join lateral (select (select x from postmeter.usage x where x.id = c.corrected_id) as o offset 0) l
        cross join lateral (select (l.o).used_at, (l.o).recorded_at) o
        where (l.o).id is not null
    ), member as materialized (
        -- to which contract each subscription belongs in this month
        select s.id, s.product, s.org, s.valid_from, s.valid_until,
            coalesce(k.contract, postmeter.contract_name(s.product, s.contract), s.buyer) as contract
        from postmeter.subscription s
        left join postmeter.contract_member k on k.subscription_id = s.id and k.month = recalculate.month
        where s.destination_id = t.id and s.buyer is not null
    ), ends as materialized (
        -- as meter_ends says it
        select m.contract, least(ended, max(coalesce(m.valid_until, 'infinity'))) as at from member m
            where m.valid_from < ended group by 1
    ), boundary as materialized (
        -- hours of the month at which the catalogue begins to say something else about an org
        select b.org, array_agg(distinct b.hour) as hours
        from (select s.org, unnest(array[s.valid_from, s.valid_until]) as hour from postmeter.subscription s
              union all
              select e.org, unnest(array[e.valid_from, e.valid_until]) from postmeter.exemption e) b
        where b.hour > began and b.hour < ended
        group by 1
    ), covered_kind as materialized (
        select distinct o.org, o.product, c.metric
        from postmeter.cover c
        join member s on s.id = c.subscription_id
        join member o on o.contract = s.contract and o.product = s.product
    ), open_now as materialized (
        select d.id, d.round from postmeter.delivery d where d.destination_id = t.id and d.status = 'open'
    ), told_of as materialized (
        -- when a shadow was told last of whom it shadows: what was recorded before may not have been given to it
        select c.new_row ->> 'org' as org, c.new_row ->> 'product' as product, max(c.changed_at) as changed_at
        from postmeter.catalogue_change c
        where t.shadow_of is not null and c.entry = 'subscription' and c.new_row ->> 'destination_id' = t.id::text
        group by 1, 2
    ), found as materialized (
        select u.org, u.product, u.metric, coalesce(u.account, '') as account,
               case when b.org is null then began
                   else (select coalesce(max(h), began) from unnest(b.hours) h
                   where h <= coalesce(k.used_at, u.used_at)) end as since,
               case when c.org is not null then postmeter.hour_of(coalesce(k.used_at, u.used_at)) end as hour,
               case when t.shadow_of is null and num_nonnulls(a.usage_id, h.usage_id, w.id, x.usage_id, g.usage_id) > 1
                         or num_nonnulls(a.usage_id, v.usage_id) > 1 then 'twice'
                    when a.destination_id <> t.id then 'elsewhere'
                    when a.usage_id is not null then case when o.id is not null then 'open_hour' else 'counted' end
                    when v.usage_id is not null then
                        case when v.reason is null then 'waiting' when v.reason = 'exempt' then 'exempt'
                            else 'held_usage' end
                    when t.shadow_of is not null then
                        case when x.usage_id is not null then 'exempt' when not w.returned then 'waiting'
                             when coalesce(k.recorded_at, u.recorded_at) <= n.changed_at then 'not_given'
                                 else 'nowhere' end
                    when h.usage_id is not null then 'held_usage'
                    when w.id is not null then 'waiting'
                    when x.usage_id is not null then 'exempt'
                    when g.usage_id is not null then 'written_off_usage'
                    else 'nowhere' end as place,
               case when t.shadow_of is null then h.reason else nullif(v.reason, 'exempt') end as reason, case
                   when a.destination_id = t.id
                   then a.meter_metric_id end as meter_metric_id, u.quantity < 0 as corrects,
               sum(u.quantity) as quantity, sum(a.quantity) - sum(u.quantity) as differs
        from postmeter.usage u
        left join correction k on k.id = u.id
        left join postmeter.allocation a on a.usage_id = u.id and a.destination_id <> all (others)
        left join postmeter.shadow_usage v on v.usage_id = u.id and v.destination_id = t.id
        left join told_of n on n.org = u.org and n.product = u.product
        left join open_now o on o.id = a.delivery_id and o.round = a.round
        left join postmeter.held h on h.usage_id = u.id
        left join postmeter.outbox w on w.id = u.id
        left join postmeter.exempted x on x.usage_id = u.id
        left join postmeter.usage_written_off g on g.usage_id = u.id
        left join boundary b on b.org = u.org
        left join covered_kind c on c.org = u.org and c.product = u.product and c.metric = u.metric
        where coalesce(k.used_at, u.used_at) >= began and coalesce(k.used_at, u.used_at) < ended and u.id >= first
        group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    ), kind as materialized (
        select k.*, row_number() over () as item
            from (select distinct f.org, f.product, f.metric, f.account, f.since from found f) k
    ), resolved as materialized (
        select k.org, k.product, k.metric, k.account, k.since, b.contract as buyer, d.name as dimension,
            r.destination_id,
               -- usage that the catalogue calls exempt by now belongs to no meter
               r.destination_id = t.id and r.buyer is not null and d.id is not null
                   and r.exemption_id is null as mapped,
               d.factor_numerator, d.factor_denominator, d.rounding, d.decimals, d.month_end
        from (select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p,
            array_agg(k.metric order by k.item) m,
                     array_agg(nullif(k.account, '') order by k.item) a, array_agg(k.since order by k.item) h
                         from kind k) g,
             postmeter.resolve(g.o, g.p, g.m, g.a, g.h, case when t.shadow_of is not null then t.id end) r
        join kind k on k.item = r.item
        left join postmeter.dimension d on d.id = r.dimension_id
        left join member b on b.id = r.subscription_id
    ), ledger as materialized (
        select m.id as meter_id, m.buyer, m.dimension, m.rounding, m.decimals, m.month_end, mm.id, mm.product,
            mm.metric,
               mm.factor_numerator, mm.factor_denominator, mm.used, mm.covered
        from postmeter.meter m join postmeter.meter_metric mm on mm.meter_id = m.id
        where m.destination_id = t.id and m.month = recalculate.month
    ), placed as materialized (
        select f.org, f.product, f.metric, f.hour, f.place, f.reason, f.meter_metric_id, f.corrects, f.quantity,
            f.differs,
               coalesce(r.mapped, false) as mapped, r.buyer, r.dimension, l.id is not null as here,
               l.buyer as old_buyer, l.dimension as old_dimension, l.product as old_product, l.metric as old_metric,
               r.mapped and l.id is not null
                   and (r.buyer, r.dimension, f.product, f.metric) = (l.buyer, l.dimension, l.product, l.metric) as same
        from found f
        join resolved r on r.org = f.org and r.product = f.product and r.metric = f.metric and r.account = f.account
            and r.since = f.since
        left join ledger l on l.id = f.meter_metric_id
        -- usage of another destination, wherever it is, is not ours to explain
        where r.destination_id = t.id or f.meter_metric_id is not null
            or (r.destination_id is null and f.place <> 'elsewhere'
                                                                            and (t.shadow_of is null
                                                                            or f.place = 'held_usage'))
    ), told as materialized (
        -- per meter and metric, in its units: used and corrected are the usage; the other parts say where it is
        select p.buyer, p.dimension, p.product, p.metric, case when p.corrects then 'corrected'
            else 'used' end as part, null::text as reason, p.quantity
        from placed p where p.mapped
        union all
        select p.buyer, p.dimension, p.product, p.metric,
               case when p.place in ('nowhere', 'twice') then 'unexplained'
                   when p.place in ('counted', 'open_hour', 'elsewhere') then 'catalogue_changed' else p.place end,
               case p.place when 'nowhere' then 'usage that is nowhere' when 'twice' then 'usage that is in two places'
                            when 'counted' then 'counted on another meter' when 'open_hour'
                                then 'counted on another meter'
                            when 'elsewhere' then 'counted at another destination' else p.reason end, p.quantity
        from placed p where p.mapped and not coalesce(p.same, false)
        union all
        select p.old_buyer, p.old_dimension, p.old_product, p.old_metric, case p.place when 'twice' then 'unexplained'
            else p.place end,
               case p.place when 'twice' then 'usage that is in two places' end, p.quantity
        from placed p where p.here
        union all
        select p.old_buyer, p.old_dimension, p.old_product, p.old_metric, 'catalogue_changed',
            'no longer of this meter', -p.quantity
        from placed p where p.here and not coalesce(p.same, false)
    ), faults as (
        select p.meter_metric_id as id, 'an allocation says another quantity than its usage' as reason,
            sum(p.differs) as quantity
        from placed p where p.here group by 1
        union all
        select l.id, 'the meter counted other than its usage says', l.used - coalesce(c.quantity, 0)
        from ledger l
        left join (select p.meter_metric_id, sum(p.quantity) as quantity from placed p
            where p.place in ('counted', 'twice') group by 1) c
          on c.meter_metric_id = l.id
    ), metric_rows as materialized (
        select k.buyer, k.dimension, k.product, k.metric, k.part, k.reason, sum(k.quantity) as quantity
        from told k group by 1, 2, 3, 4, 5, 6
        union all
        select l.buyer, l.dimension, l.product, l.metric, 'unexplained', f.reason, f.quantity
        from faults f join ledger l on l.id = f.id where f.quantity <> 0
    ), hours as materialized (
        select p.buyer, p.dimension, p.product, p.metric, p.hour, sum(sum(p.quantity)) over (
                   partition by p.buyer, p.dimension, p.product, p.metric order by p.hour) as used
        from placed p where p.mapped and p.hour is not null
        group by 1, 2, 3, 4, 5
    ), cover_now as materialized (
        -- covered := min(T, max(covered, C)) from hour to hour comes to the greatest C that later corrections leave
        -- room for
        select h.buyer, h.dimension, h.product, h.metric, greatest(0, max(least(h.cover, h.lowest))) as covered
        from (select h.buyer, h.dimension, h.product, h.metric, h.hour,
                     greatest(coalesce(sum(c.quantity) filter (where s.valid_from <= h.hour), 0),
                              coalesce(sum(c.quantity) filter (
                                  where s.valid_until is null or s.valid_until >= h.hour + interval '1 hour'), 0)) as
                                      cover,
                     min(min(h.used)) over (partition by h.buyer, h.dimension, h.product, h.metric order by h.hour
                                            rows between current row and unbounded following) as lowest
              from hours h
              left join (member s join postmeter.cover c on c.subscription_id = s.id)
                on s.contract = h.buyer and s.product = h.product and c.metric = h.metric
               and s.valid_from < h.hour + interval '1 hour' and (s.valid_until is null or h.hour < s.valid_until)
              group by 1, 2, 3, 4, 5) h
        group by 1, 2, 3, 4
    ), factor as materialized (
        select f.buyer, f.dimension, f.product, f.metric,
               coalesce(max(f.numerator) filter (where f.is_now), max(f.numerator)) as numerator,
               coalesce(max(f.denominator) filter (where f.is_now), max(f.denominator)) as denominator,
               coalesce(max(f.numerator) filter (where not f.is_now), max(f.numerator)) as old_numerator,
               coalesce(max(f.denominator) filter (where not f.is_now), max(f.denominator)) as old_denominator
        from (select distinct r.buyer, r.dimension, r.product, r.metric, r.factor_numerator as numerator,
            r.factor_denominator as denominator, true as is_now
              from resolved r where r.mapped
              union all
              select l.buyer, l.dimension, l.product, l.metric, l.factor_numerator, l.factor_denominator, false
                  from ledger l) f
        group by 1, 2, 3, 4
    ), common as materialized (
        select f.buyer, f.dimension, lcm(postmeter.lcm_of(f.denominator), postmeter.lcm_of(f.old_denominator))::numeric
            as denominator
        from factor f group by 1, 2
    ), unit as materialized (
        select f.*, c.denominator as d, f.numerator * (c.denominator / f.denominator) as units,
               f.old_numerator * (c.denominator / f.old_denominator) as old_units
        from factor f join common c on c.buyer = f.buyer and c.dimension = f.dimension
    ), rounding as materialized (
        select c.buyer, c.dimension, c.denominator, m.id as meter_id, m.billed,
            m.carried * (c.denominator / m.denominator) as carried,
               m.billable * c.denominator as billable, coalesce(m.decimals, n.decimals) as decimals,
               case when coalesce(m.month_end, n.month_end) = 'round_up'
                         and e.at <= postmeter.clock()
                    then 'up' else coalesce(m.rounding, n.rounding) end as rounding,
               case when m.month_end = 'round_up' then 'up' else m.rounding end as most, m.decimals as old_decimals
        from common c
        left join ends e on e.contract = c.buyer
        left join postmeter.meter m on m.destination_id = t.id and m.month = recalculate.month and m.buyer = c.buyer
            and m.dimension = c.dimension
        left join (select r.buyer, r.dimension, max(r.rounding) as rounding, max(r.decimals) as decimals,
            max(r.month_end) as month_end
                   from resolved r where r.mapped group by 1, 2) n on n.buyer = c.buyer and n.dimension = c.dimension
    ), billed as materialized (
        select c.meter_id, d.status, d.reason, sum(c.to_bill) as quantity
        from postmeter.cut c
        join postmeter.delivery d on d.id = c.delivery_id and d.status <> 'released'
        where c.meter_id in (select l.meter_id from ledger l) and c.to_bill <> 0
        group by 1, 2, 3
    ), usage_units as (
        select k.buyer, k.dimension,
               sum(k.quantity * u.units) filter (where k.part in ('used', 'corrected')) as used
        from metric_rows k join unit u on u.buyer = k.buyer and u.dimension = k.dimension and u.product = k.product
            and u.metric = k.metric
        group by 1, 2
    ), ledger_units as (
        select l.buyer, l.dimension, sum((l.used - l.covered) * u.old_units) as units
        from ledger l join unit u on u.buyer = l.buyer and u.dimension = l.dimension and u.product = l.product
            and u.metric = l.metric
        group by 1, 2
    ), cover_units as (
        select u.buyer, u.dimension, sum(coalesce(c.covered, 0) * u.units) as now,
            sum(coalesce(l.covered, 0) * u.old_units) as before
        from unit u
        left join cover_now c on c.buyer = u.buyer and c.dimension = u.dimension and c.product = u.product
            and c.metric = u.metric
        left join ledger l on l.buyer = u.buyer and l.dimension = u.dimension and l.product = u.product
            and l.metric = u.metric
        group by 1, 2
    ), total as materialized (
        select r.buyer, r.dimension, r.meter_id, r.denominator, r.carried, r.billable, r.decimals,
               coalesce(w.used, 0) - c.now as units, c.now as covered, c.before - c.now as cover_changed,
               greatest(0, coalesce(postmeter.round_units(coalesce(w.used, 0) - c.now, r.denominator, r.rounding,
                   r.decimals), 0)) * r.denominator as should,
               coalesce(greatest(0, r.billed - postmeter.round_units(l.units, r.denominator, r.most, r.old_decimals)),
                   0) * r.denominator as over_billed
        from rounding r
        left join usage_units w on w.buyer = r.buyer and w.dimension = r.dimension
        left join ledger_units l on l.buyer = r.buyer and l.dimension = r.dimension
        left join cover_units c on c.buyer = r.buyer and c.dimension = r.dimension
    ), meter_rows as materialized (
        -- per meter, in billing units x denominator: should is the sum of the other parts
        select x.buyer, x.dimension, 'should' as part, null::text as reason, x.should as quantity from total x
        union all
        select x.buyer, x.dimension, b.status, b.reason, b.quantity * x.denominator from billed b
            join total x on x.meter_id = b.meter_id
        union all
        select k.buyer, k.dimension, k.part, k.reason, sum(k.quantity * u.units)
        from metric_rows k join unit u on u.buyer = k.buyer and u.dimension = k.dimension and u.product = k.product
            and u.metric = k.metric
        where k.part in ('waiting', 'not_given', 'open_hour', 'held_usage', 'written_off_usage', 'exempt',
            'catalogue_changed')
        group by 1, 2, 3, 4
        union all
        select k.buyer, k.dimension, 'catalogue_changed', 'another factor', sum(k.quantity * (u.units - u.old_units))
        from metric_rows k join unit u on u.buyer = k.buyer and u.dimension = k.dimension and u.product = k.product
            and u.metric = k.metric
        where k.part = 'counted'
        group by 1, 2
        union all
        select x.buyer, x.dimension, 'cover_changed', null, x.cover_changed from total x
        union all
        select x.buyer, x.dimension, 'released', null, x.billable from total x
        union all
        select x.buyer, x.dimension, 'credit', null, -x.over_billed from total x
        union all
        -- at most one step of what can be billed: more than that would be no rounding
        select y.buyer, y.dimension, case when y.is_rounding then 'below_one_unit' else 'unexplained' end,
               case when not y.is_rounding then 'more than rounding' end, y.below
        from (select x.*, b.below, abs(b.below) <= x.denominator * (0.1 ^ x.decimals)::numeric(20, 15) as is_rounding
              from total x, lateral (select coalesce(x.carried - x.billable, 0) + x.should - x.units
                  + x.over_billed as below) b) y
    ), every as (
        select k.buyer, k.dimension, null::text as org, k.product, k.metric, k.part, k.reason, k.quantity
            from metric_rows k
        union all
        select null, null, p.org, p.product, p.metric, v.part, v.reason, sum(p.quantity)
        from placed p
        cross join lateral (values (case when p.corrects then 'corrected' else 'used' end, null),
            (case when p.place in ('nowhere', 'twice') then 'unexplained' else p.place end,
             case p.place when 'nowhere' then 'usage that is nowhere' when 'twice' then 'usage that is in two places'
                 else p.reason end)) v(part, reason)
        where not p.mapped and not p.here
        group by 3, 4, 5, 6, 7
        union all
        select k.buyer, k.dimension, null, null, null, k.part, k.reason, k.quantity from meter_rows k
        union all
        select k.buyer, k.dimension, null, null, null, 'unexplained', 'the bill',
               sum(k.quantity) filter (where k.part = 'should') -
                   coalesce(sum(k.quantity) filter (where k.part <> 'should'), 0)
        from meter_rows k group by 1, 2
    )
    select e.buyer, e.dimension, x.meter_id, case when e.metric is null
        then x.denominator end, e.org, e.product, e.metric, e.part, e.reason, trim_scale(e.quantity)
    from every e
    left join total x on x.buyer = e.buyer and x.dimension = e.dimension
    where e.quantity <> 0 or e.part in ('used', 'should')
    order by e.buyer, e.dimension, e.metric is not null, e.org, e.product, e.metric,
             array_position(array['should', 'used', 'corrected', 'counted'], e.part), e.part, e.reason;
end
$$;
comment on function postmeter.recalculate(text, date) is
    'A month from its usage, by the catalogue as it is now, against what was billed. Rows with a metric are usage '
    'in its units: used and corrected, and the parts that say where it is. Rows without a metric are a meter''s '
    'bill in billing units x denominator: should, and the parts that it is made of. A row unexplained (there '
    'should be none) says what does not add up. Of a shadow, not_given is what was recorded before it was told of '
    'that buyer.';
