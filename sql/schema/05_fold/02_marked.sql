-- Usage of marked buyers that the catalogue places elsewhere by now.

create function postmeter.placed_otherwise(
    deliveries bigint[], meter_metrics bigint[], orgs text[], accounts text[], hours timestamptz[],
    moments timestamptz[], unread boolean
) returns table (item bigint, to_destination_id integer, to_buyer text, to_dimension text, exemption_id bigint,
    reason text)
language sql stable
begin atomic
    with kind as materialized (
         select k_1.item,
          k_1.org,
          k_1.account,
          k_1.hour,
          k_1.at,
          d.hour as counted_in,
          d.destination_id,
          t.zone,
            case
              when (t.shadow_of is not null) then t.id
              else null::integer
            end as shadow,
          y.buyer,
          y.dimension,
          mm.product,
          mm.metric,
          c.buyer as contract
          from
              (((((UNNEST(placed_otherwise.deliveries, placed_otherwise.meter_metrics, placed_otherwise.orgs,
              placed_otherwise.accounts, placed_otherwise.hours, placed_otherwise.moments) with ordinality k_1(delivery,
              meter_metric, org, account, hour, at, item)
           join postmeter.delivery d on ((d.id = k_1.delivery)))
           join postmeter.destination t on ((t.id = d.destination_id)))
           join postmeter.meter y on ((y.id = d.meter_id)))
           join postmeter.meter_metric mm on ((mm.id = k_1.meter_metric)))
           join postmeter.meter c on ((c.id = mm.meter_id)))
        ), given as materialized (
         select k_1.shadow,
          array_agg(k_1.item order by k_1.item) as items,
          array_agg(k_1.org order by k_1.item) as orgs,
          array_agg(k_1.product order by k_1.item) as products,
          array_agg(k_1.metric order by k_1.item) as metrics,
          array_agg(k_1.account order by k_1.item) as accounts,
          array_agg(k_1.at order by k_1.item) as moments
          from kind k_1
         group by k_1.shadow
        ), said as materialized (
         select g.items[r_1.item] as item,
          r_1.destination_id,
          r_1.subscription_id,
          r_1.buyer,
          r_1.dimension_id,
          r_1.exemption_id,
          r_1.reason
          from (given g
           cross join lateral postmeter.resolve(g.orgs, g.products, g.metrics, g.accounts, g.moments,
               g.shadow) r_1(item, destination_id, subscription_id, buyer, identity, dimension_id, exemption_id,
               reason))
        )
     select k.item,
      r.destination_id,
      r.buyer,
      n.name,
      r.exemption_id,
      r.reason
      from (((said r
       join kind k on ((k.item = r.item)))
       left join postmeter.dimension n on ((n.id = r.dimension_id)))
       left join postmeter.contract_member b
           on (((b.subscription_id = r.subscription_id) and (b.month = postmeter.month_of(k.hour, k.zone)))))
     where
        case
          when (r.exemption_id is not null) then true
          when (r.reason = 'month_closed') then false
          when (r.reason = 'invalid_subscription') then (placed_otherwise.unread or (exists ( select
            from postmeter.subscription s
           where ((s.id = r.subscription_id) and (s.invalid is not null)))))
          when (r.reason is not null) then true
          when ((r.destination_id <> k.destination_id) or (n.name <> k.dimension)
              or (coalesce(b.contract, ( select postmeter.contract_name(e.product, e.contract) as contract_name
            from postmeter.subscription e
           where (e.id = r.subscription_id)), r.buyer) <> k.contract)) then true
          when (k.hour = k.counted_in) then (r.buyer <> k.buyer)
          else (not (exists ( select
            from postmeter.subscription s
           where ((s.destination_id = k.destination_id) and (s.buyer = k.buyer)
               and (s.valid_from < (k.counted_in + '01:00:00'))
               and ((s.valid_until is null) or (k.counted_in < s.valid_until))))))
        end;
end;
comment on function postmeter.placed_otherwise(
    bigint[], bigint[], text[], text[], timestamptz[], timestamptz[], boolean
) is
    'Of kinds of usage that open remittances count (remittance, what counts it, org, account, hour, and the moment '
    'for which the catalogue is asked): those that the catalogue places elsewhere by now, and where, or exempts, '
    'or does not know. Unread: also those whose subscription''s new identity no worker has read yet.';

create function postmeter.marked_usage(marks bigint[], deliveries bigint[], unread boolean)
returns table (usage_id uuid, delivery_id bigint, destination_id integer, org text, product text, metric text,
    hour timestamptz, quantity numeric, to_destination_id integer, to_buyer text, to_dimension text,
    exemption_id bigint, reason text)
language sql stable set enable_nestloop = off set jit = off
begin atomic
with mark as materialized (
        select distinct c.destination_id, c.buyer, c.org, c.product
        from postmeter.catalogue_mark c where marked_usage.marks is null or c.id = any (marked_usage.marks)
    ), opened as materialized (
        -- each once, with what can have moved in it
        select d.id, d.round, case when bool_or(k.org is null) then null else array_agg(distinct k.org) end as orgs,
               case when bool_or(k.product is null) then null else array_agg(distinct k.product) end as products
        from mark k
        join postmeter.destination t on t.id = k.destination_id
        join postmeter.meter m on m.destination_id = k.destination_id and m.buyer = k.buyer
        join postmeter.delivery d on d.meter_id = m.id
        where d.status = 'open'
          and case when marked_usage.deliveries is null
              then d.hour > (select postmeter.clock()) - t.age_limit - interval '1 day'
                   else d.id = any (marked_usage.deliveries) end
        group by d.id, d.round
    ), counted as materialized (
        select a.usage_id, a.delivery_id, a.destination_id, a.meter_metric_id, a.hour, a.quantity, u.org, u.product,
            u.metric, u.account,
               u.used_at, u.corrected_id
        from opened o
        -- fences: look-ups by key, whatever the statistics say
        cross join lateral (select y.* from postmeter.allocation y where y.delivery_id = o.id
            and y.round = o.round offset 0) a
        join postmeter.subscription s on s.id = a.subscription_id
         and (o.orgs is null or s.org = any (o.orgs)) and (o.products is null or s.product = any (o.products))
        cross join lateral (select y.* from postmeter.usage y where y.id = a.usage_id offset 0) u
    ), inside as materialized (
        -- usage is resolved by when it was used where a subscription ends or begins inside the hour
        select x.org, x.product, x.at
        from (select min(c.hour) as first, max(c.hour) + interval '1 hour' as last from counted c) b
        cross join lateral (
            select s.org, s.product, s.valid_until as at from postmeter.subscription s
            where s.valid_until > b.first and s.valid_until < b.last
                and s.valid_until <> postmeter.hour_of(s.valid_until)
            union
            select s.org, s.product, s.valid_from from postmeter.subscription s
            where s.valid_from > b.first and s.valid_from < b.last
                and s.valid_from <> postmeter.hour_of(s.valid_from)) x
    ), timed as materialized (
        select c.*, coalesce((select max(i.at) from inside i where i.org = c.org and i.product = c.product
            and i.at > c.hour and i.at <= c.used_at),
                             c.hour) as at
        from counted c where c.corrected_id is null
    ), kind as materialized (
        select t.delivery_id, t.meter_metric_id, t.org, t.account, t.hour, t.at, row_number() over () as item
        from timed t group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.delivery_id order by k.item) as deliveries,
            array_agg(k.meter_metric_id order by k.item) as meter_metrics,
               array_agg(k.org order by k.item) as orgs, array_agg(k.account order by k.item) as accounts,
               array_agg(k.hour order by k.item) as hours, array_agg(k.at order by k.item) as moments
        from kind k
    ), moved as materialized (
        select t.usage_id, t.delivery_id, t.destination_id, t.org, t.product, t.metric, t.hour, t.quantity,
               o.to_destination_id, o.to_buyer, o.to_dimension, o.exemption_id, o.reason
        from given g
        cross join lateral postmeter.placed_otherwise(g.deliveries, g.meter_metrics, g.orgs, g.accounts, g.hours,
            g.moments,
                                                      marked_usage.unread) o
        join kind k on k.item = o.item
        join timed t on t.delivery_id = k.delivery_id and t.meter_metric_id = k.meter_metric_id and t.org = k.org
         and t.account is not distinct from k.account and t.hour = k.hour and t.at = k.at
    )
    select m.usage_id, m.delivery_id, m.destination_id, m.org, m.product, m.metric, m.hour, m.quantity,
           m.to_destination_id, m.to_buyer, m.to_dimension, m.exemption_id, m.reason
    from moved m
    union all
    -- a correction goes where what it corrects goes
    select c.usage_id, c.delivery_id, c.destination_id, c.org, c.product, c.metric, m.hour, c.quantity,
           m.to_destination_id, m.to_buyer, m.to_dimension, m.exemption_id, m.reason
    from counted c
    join moved m on m.usage_id = c.corrected_id and m.delivery_id = c.delivery_id
    where c.corrected_id is not null;
end;
comment on function postmeter.marked_usage(bigint[], bigint[], boolean) is
    'Usage that open remittances of marked buyers count and that the catalogue places elsewhere by now, with its '
    'corrections, and where it goes: of these marks, or of all of them in these remittances. Unread: also that of '
    'subscriptions whose new identity no worker has read yet.';

create function postmeter.mark_is_unread(mark postmeter.catalogue_mark) returns boolean
language sql stable
begin atomic
select exists (select from postmeter.subscription s
                   where s.org = (mark_is_unread.mark).org and s.buyer is null and s.invalid is null);
end;
comment on function postmeter.mark_is_unread(postmeter.catalogue_mark) is
    'Whether an identity of the mark''s org was changed by SQL and no worker has read it yet: nobody knows where '
    'its usage goes.';

create function postmeter.return_marked(usages uuid[], deliveries bigint[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    family   uuid[];
    returned bigint;
begin
    -- the caller has the remittances locked alone: no fold adds to them, and no cut counts them
    select array_agg(x.id) into family
    from (select n.id from unnest(usages) n(id)
          union
          select c.id
          from unnest(usages) n(id)
          join postmeter.usage u on u.id = n.id
          join postmeter.usage c on c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id)
              and c.corrected_id = u.id) x;
    perform set_config('postmeter.ends_allocations', 'on', true);
    with gone as (
        delete from postmeter.allocation a
        using postmeter.delivery d
        where a.usage_id = any (family) and a.delivery_id = any (deliveries)
          -- what a cut has counted stays
          and d.id = a.delivery_id and d.status = 'open' and d.round = a.round
        returning a.usage_id, a.destination_id, a.hour
    ), back as (
        insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                      request_id, traceparent, attributes, returned)
        select u.id, u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects,
               u.request_id, u.traceparent, u.attributes, true
        from gone g
        join postmeter.destination t on t.id = g.destination_id and t.shadow_of is null
        join postmeter.usage u on u.id = g.usage_id
    ), shown as (
        insert into postmeter.shadow_usage (destination_id, usage_id, org, product, metric, account, quantity, hour,
            reason, corrected_id)
        select g.destination_id, u.id, u.org, u.product, u.metric, u.account, u.quantity, g.hour, null,
               u.corrected_id
        from gone g
        join postmeter.destination t on t.id = g.destination_id and t.shadow_of is not null
        join postmeter.usage u on u.id = g.usage_id
    )
    select count(*) into returned from gone g;
    perform set_config('postmeter.ends_allocations', 'off', true);
    return returned;
end
$$;
comment on function postmeter.return_marked(uuid[], bigint[]) is
    'Ends the allocations of these usages, with those of their corrections, in these remittances, as far as they '
    'are still open, and returns the usage to the outbox (or to its shadow); the caller has the remittances locked '
    'alone. Returns how many.';

create function postmeter.awaited(deliveries bigint[]) returns setof bigint
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- to others too the usage of a mark's org can go: what any of its buyers counts may come here
    select d.id
    from postmeter.delivery d
    join postmeter.meter m on m.id = d.meter_id
    where d.id = any (deliveries) and exists (
        select from postmeter.catalogue_mark k
        where k.destination_id = m.destination_id and k.buyer = m.buyer
          and (postmeter.mark_is_unread(k) or k.is_awaited and (k.awaits is null or exists (
                  select from postmeter.marked_usage(array(
                      select o.id from postmeter.catalogue_mark o
                      where o.org is not distinct from k.org and o.product is not distinct from k.product
                        and (k.org is not null or o.id = k.id)), null, false)))))
$$;
comment on function postmeter.awaited(bigint[]) is
    'Of these remittances of marked buyers those that wait: usage that another one counts may come to them, or '
    'nobody has read yet to whom theirs belongs.';

create function postmeter.end_marked(deliveries bigint[], most integer, unread boolean) returns setof bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    chosen uuid[];
    places bigint[];
begin
    select array_agg(x.usage_id), array_agg(distinct x.delivery_id) into chosen, places
    from (select u.usage_id, u.delivery_id from postmeter.marked_usage(null, deliveries, unread) u limit most) x;
    if chosen is not null then
        perform postmeter.return_marked(chosen, places);
        return query select p from unnest(places) p order by p;
    end if;
end
$$;
comment on function postmeter.end_marked(bigint[], integer, boolean) is
    'Returns what these remittances of marked buyers count and the catalogue places elsewhere by now, at most so '
    'many usages; the caller has the remittances locked alone. Tells of which something was returned. Unread: as '
    'marked_usage has it.';

-- its outbox is the door, which its callers may read
create function postmeter.marked_exempt(marks bigint[])
returns table (usage_id uuid, exemption_id bigint, org text, product text, metric text, hour timestamptz,
    quantity numeric, to_destination_id integer, to_buyer text, to_dimension text)
language sql stable
begin atomic
with counted as materialized (
        select x.usage_id, x.exemption_id, u.org, u.product, u.metric, u.account, u.quantity,
            postmeter.hour_of(u.used_at) as hour,
               postmeter.resolved_at(u.org, u.product, u.used_at) as at, u.corrected_id
        from (select distinct c.exemption_id from postmeter.catalogue_mark c where c.id = any (marked_exempt.marks)
            and c.exemption_id is not null) k
        join postmeter.exemption e on e.id = k.exemption_id
        join postmeter.exempted x on x.exemption_id = k.exemption_id
         -- hours that are open are of usage that was recorded lately
         and x.usage_id >= postmeter.id_at(clock_timestamp() - (select max(t.age_limit) + interval '1 day'
             from postmeter.destination t))
        join postmeter.usage u on u.id = x.usage_id
        where u.org <> e.org or u.product <> e.product or u.used_at < e.valid_from or u.used_at >= e.valid_until
           or u.corrected_id is not null
    ), kind as materialized (
        select c.org, c.product, c.metric, c.account, c.hour, c.at, row_number() over () as item
        from counted c where c.corrected_id is null group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.org order by k.item) as orgs, array_agg(k.product order by k.item) as products,
               array_agg(k.metric order by k.item) as metrics, array_agg(k.account order by k.item) as accounts,
               array_agg(k.at order by k.item) as moments
        from kind k
    ), billed as materialized (
        select k.*, r.destination_id, r.buyer, n.name
        from given g
        cross join lateral postmeter.resolve(g.orgs, g.products, g.metrics, g.accounts, g.moments) r
        join kind k on k.item = r.item
        join postmeter.dimension n on n.id = r.dimension_id
        join postmeter.destination t on t.id = r.destination_id
        left join postmeter.meter m on m.destination_id = t.id and m.buyer = r.buyer and m.dimension = n.name
         and m.month = postmeter.month_of(k.hour, t.zone)
        left join postmeter.delivery d on d.meter_id = m.id and d.hour = k.hour
        where r.exemption_id is null and r.reason is null
          -- of an hour that is cut, or would have been, it stays what it was
          and case when d.id is null then k.hour + interval '1 hour' + t.grace > (select postmeter.clock())
              else d.status = 'open' end
    ), moved as materialized (
        select c.*, b.destination_id, b.buyer, b.name
        from counted c
        join billed b on b.org = c.org and b.product = c.product and b.metric = c.metric and b.account is not distinct
            from c.account
         and b.hour = c.hour and b.at = c.at
        where c.corrected_id is null
    )
    select m.usage_id, m.exemption_id, m.org, m.product, m.metric, m.hour, m.quantity, m.destination_id, m.buyer, m.name
        from moved m
    union all
    -- a correction goes where what it corrects goes, or has gone
    select c.usage_id, c.exemption_id, c.org, c.product, c.metric, coalesce(m.hour, c.hour), c.quantity,
        m.destination_id, m.buyer, m.name
    from counted c
    left join moved m on m.usage_id = c.corrected_id
    where c.corrected_id is not null
      and (m.usage_id is not null or exists (select from postmeter.outbox o
                                             where o.shard = (hashtextextended(c.org, 0) & 1023)::smallint
                                                 and o.id = c.corrected_id)
           or exists (select from postmeter.allocation a join postmeter.destination t on t.id = a.destination_id
               and t.shadow_of is null
                      where a.usage_id = c.corrected_id));
end;
comment on function postmeter.marked_exempt(bigint[]) is
    'Usage that is exempt by the exemptions of these marks and that the catalogue counts by now, with its '
    'corrections, and where; its hour is still open.';

create function postmeter.return_exempted(usages uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    returned bigint;
begin
    with family as materialized (
        select n.id from unnest(usages) n(id)
        union
        select c.id
        from unnest(usages) n(id)
        join postmeter.usage u on u.id = n.id
        join postmeter.usage c on c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id)
            and c.corrected_id = u.id
    ), ours as materialized (
        select x.usage_id from postmeter.exempted x join family f on f.id = x.usage_id
            order by x.usage_id for update of x skip locked
    ), gone as (
        delete from postmeter.exempted x using ours o where x.usage_id = o.usage_id returning x.usage_id
    )
    insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                  request_id, traceparent, attributes, returned)
    select u.id, u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects,
           u.request_id, u.traceparent, u.attributes, true
    from gone g join postmeter.usage u on u.id = g.usage_id;
    get diagnostics returned = row_count;
    return returned;
end
$$;
comment on function postmeter.return_exempted(uuid[]) is
    'Returns exempt usage to the outbox, with its corrections; what another session has in hand is passed over. '
    'Returns how much.';
