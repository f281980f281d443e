-- 0047_pre_catalogue_at_the_cut: until its hour is cut, usage goes by the catalogue as it stands; what an edit moves is returned in shares.
-- programs: from 0022
-- lock: share row exclusive on allocation, for a moment: a trigger is replaced
-- lock: share row exclusive on subscription, for a moment: a trigger
-- lock: share row exclusive on contract_member, for a moment: a trigger
-- lock: share row exclusive on exemption, for a moment: a trigger
-- lock: share row exclusive on dimension, for a moment: a trigger

create table postmeter.catalogue_mark (
    id             bigint generated always as identity primary key,
    destination_id integer     not null,
    buyer          text collate "C" not null,
    org            text collate "C",
    product        text collate "C",
    exemption_id   bigint,
    is_awaited     boolean     not null,
    wanted_at      timestamptz not null default clock_timestamp(),
    next_at        timestamptz not null default clock_timestamp(),
    awaits         xid8
);
create index catalogue_mark_by_buyer on postmeter.catalogue_mark (destination_id, buyer);
create index catalogue_mark_by_org on postmeter.catalogue_mark (org, product);
create index catalogue_mark_by_time on postmeter.catalogue_mark (next_at, id);
comment on table postmeter.catalogue_mark is 'Buyers in whose open hours usage may be counted that the catalogue, since it was changed, places elsewhere. Maintenance returns that usage to the outbox, in shares, and deletes the row when none can come any more that goes by the old catalogue; until then the cut of such an hour looks itself.';
comment on column postmeter.catalogue_mark.id is 'Number of the mark.';
comment on column postmeter.catalogue_mark.destination_id is 'The destination.';
comment on column postmeter.catalogue_mark.buyer is 'The buyer.';
comment on column postmeter.catalogue_mark.org is 'Only usage of this org can have moved; null: of any.';
comment on column postmeter.catalogue_mark.product is 'Only usage of this product can have moved; null: of any.';
comment on column postmeter.catalogue_mark.exemption_id is 'This exemption has ended earlier or begins later: what it exempted may have to be counted. Null: no exemption did.';
comment on column postmeter.catalogue_mark.is_awaited is 'Usage may come to this buyer from elsewhere: its hours wait until it was returned, until a lead before their deadline at the latest.';
comment on column postmeter.catalogue_mark.wanted_at is 'When the catalogue changed; the server''s time.';
comment on column postmeter.catalogue_mark.next_at is 'From when on a worker takes it; later than now: one has it in hand.';
comment on column postmeter.catalogue_mark.awaits is 'Nothing was left to return: it is looked once more when all transactions before this one have ended, for one of them may count usage by the old catalogue. Null: not yet.';
grant select, delete on postmeter.catalogue_mark to postmeter_worker;
grant update (next_at, awaits) on postmeter.catalogue_mark to postmeter_worker;
grant select on postmeter.catalogue_mark to postmeter_reader, postmeter_operator;

-- where usage belongs by now ------------------------------------------------------------------------------------------

create function postmeter.placed_otherwise(
    deliveries bigint[], meter_metrics bigint[], orgs text[], accounts text[], hours timestamptz[], moments timestamptz[], unread boolean)
returns table (item bigint, to_destination_id integer, to_buyer text, to_dimension text, exemption_id bigint, reason text)
language sql stable
begin atomic
    with kind as materialized (
        select k.item, k.org, k.account, k.hour, k.at, d.hour as counted_in, d.destination_id, t.zone,
               case when t.shadow_of is not null then t.id end as shadow, y.buyer, y.dimension, mm.product, mm.metric, c.buyer as contract
        from unnest(deliveries, meter_metrics, orgs, accounts, hours, moments) with ordinality k(delivery, meter_metric, org, account, hour, at, item)
        join postmeter.delivery d on d.id = k.delivery
        join postmeter.destination t on t.id = d.destination_id
        join postmeter.meter y on y.id = d.meter_id
        join postmeter.meter_metric mm on mm.id = k.meter_metric
        join postmeter.meter c on c.id = mm.meter_id
    ), given as materialized (
        select k.shadow, array_agg(k.item order by k.item) as items, array_agg(k.org order by k.item) as orgs,
               array_agg(k.product order by k.item) as products, array_agg(k.metric order by k.item) as metrics,
               array_agg(k.account order by k.item) as accounts, array_agg(k.at order by k.item) as moments
        from kind k group by k.shadow
    ), said as materialized (
        select g.items[r.item] as item, r.destination_id, r.subscription_id, r.buyer, r.dimension_id, r.exemption_id, r.reason
        from given g
        cross join lateral postmeter.resolve(g.orgs, g.products, g.metrics, g.accounts, g.moments, g.shadow) r
    )
    select k.item, r.destination_id, r.buyer, n.name, r.exemption_id, r.reason
    from said r
    join kind k on k.item = r.item
    left join postmeter.dimension n on n.id = r.dimension_id
    left join postmeter.contract_member b on b.subscription_id = r.subscription_id and b.month = postmeter.month_of(k.hour, k.zone)
    where case
        when r.exemption_id is not null then true
        -- closing a month waits for its open hours
        when r.reason = 'month_closed' then false
        -- an identity that no worker has read yet says nothing
        when r.reason = 'invalid_subscription' then placed_otherwise.unread or exists (
            select from postmeter.subscription s where s.id = r.subscription_id and s.invalid is not null)
        when r.reason is not null then true
        when r.destination_id <> k.destination_id or n.name <> k.dimension or coalesce(b.contract, r.buyer) <> k.contract then true
        when k.hour = k.counted_in then r.buyer <> k.buyer
        -- late usage goes where its contract can be sent
        else not exists (
            select from postmeter.subscription s
            where s.destination_id = k.destination_id and s.buyer = k.buyer and s.valid_from < k.counted_in + interval '1 hour'
              and (s.valid_until is null or k.counted_in < s.valid_until)) end;
end;
comment on function postmeter.placed_otherwise(bigint[], bigint[], text[], text[], timestamptz[], timestamptz[], boolean) is
    'Of kinds of usage that open remittances count (remittance, what counts it, org, account, hour, and the moment for which the catalogue is asked): those that the catalogue places elsewhere by now, and where, or exempts, or does not know. Unread: also those whose subscription''s new identity no worker has read yet.';
revoke execute on function postmeter.placed_otherwise(bigint[], bigint[], text[], text[], timestamptz[], timestamptz[], boolean) from public;
grant execute on function postmeter.placed_otherwise(bigint[], bigint[], text[], text[], timestamptz[], timestamptz[], boolean) to postmeter_worker, postmeter_operator;

create function postmeter.marked_usage(marks bigint[], deliveries bigint[], unread boolean)
returns table (usage_id uuid, delivery_id bigint, destination_id integer, org text, product text, metric text, hour timestamptz,
               quantity numeric, to_destination_id integer, to_buyer text, to_dimension text, exemption_id bigint, reason text)
language sql stable
set enable_nestloop = off set jit = off  -- many usages of many kinds
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
          and case when marked_usage.deliveries is null then d.hour > (select postmeter.clock()) - t.age_limit - interval '1 day'
                   else d.id = any (marked_usage.deliveries) end
        group by d.id, d.round
    ), counted as materialized (
        select a.usage_id, a.delivery_id, a.destination_id, a.meter_metric_id, a.hour, a.quantity, u.org, u.product, u.metric, u.account,
               u.used_at, u.corrected_identity
        from opened o
        -- fences: look-ups by key, whatever the statistics say
        cross join lateral (select y.* from postmeter.allocation y where y.delivery_id = o.id and y.round = o.round offset 0) a
        join postmeter.subscription s on s.id = a.subscription_id
         and (o.orgs is null or s.org = any (o.orgs)) and (o.products is null or s.product = any (o.products))
        cross join lateral (select y.* from postmeter.usage y where y.id = a.usage_id offset 0) u
    ), inside as materialized (
        -- usage is resolved by when it was used where a subscription ends or begins inside the hour
        select x.org, x.product, x.at
        from (select min(c.hour) as first, max(c.hour) + interval '1 hour' as last from counted c) b
        cross join lateral (
            select s.org, s.product, s.valid_until as at from postmeter.subscription s
            where s.valid_until > b.first and s.valid_until < b.last and s.valid_until <> postmeter.hour_of(s.valid_until)
            union
            select s.org, s.product, s.valid_from from postmeter.subscription s
            where s.valid_from > b.first and s.valid_from < b.last and s.valid_from <> postmeter.hour_of(s.valid_from)) x
    ), timed as materialized (
        select c.*, coalesce((select max(i.at) from inside i where i.org = c.org and i.product = c.product and i.at > c.hour and i.at <= c.used_at),
                             c.hour) as at
        from counted c where c.corrected_identity is null
    ), kind as materialized (
        select t.delivery_id, t.meter_metric_id, t.org, t.account, t.hour, t.at, row_number() over () as item
        from timed t group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.delivery_id order by k.item) as deliveries, array_agg(k.meter_metric_id order by k.item) as meter_metrics,
               array_agg(k.org order by k.item) as orgs, array_agg(k.account order by k.item) as accounts,
               array_agg(k.hour order by k.item) as hours, array_agg(k.at order by k.item) as moments
        from kind k
    ), moved as materialized (
        select t.usage_id, t.delivery_id, t.destination_id, t.org, t.product, t.metric, t.hour, t.quantity,
               o.to_destination_id, o.to_buyer, o.to_dimension, o.exemption_id, o.reason
        from given g
        cross join lateral postmeter.placed_otherwise(g.deliveries, g.meter_metrics, g.orgs, g.accounts, g.hours, g.moments,
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
    join postmeter.usage_identity i on i.identity = c.corrected_identity
    join moved m on m.usage_id = i.usage_id and m.delivery_id = c.delivery_id
    where c.corrected_identity is not null;
end;
comment on function postmeter.marked_usage(bigint[], bigint[], boolean) is
    'Usage that open remittances of marked buyers count and that the catalogue places elsewhere by now, with its corrections, and where it goes: of these marks, or of all of them in these remittances. Unread: also that of subscriptions whose new identity no worker has read yet.';
revoke execute on function postmeter.marked_usage(bigint[], bigint[], boolean) from public;
grant execute on function postmeter.marked_usage(bigint[], bigint[], boolean) to postmeter_worker, postmeter_operator;

create function postmeter.mark_is_unread(mark postmeter.catalogue_mark) returns boolean
language sql stable
begin atomic
    select exists (select from postmeter.subscription s
                   where s.org = (mark_is_unread.mark).org and s.buyer is null and s.invalid is null);
end;
comment on function postmeter.mark_is_unread(mark postmeter.catalogue_mark) is 'Whether an identity of the mark''s org was changed by SQL and no worker has read it yet: nobody knows where its usage goes.';
revoke execute on function postmeter.mark_is_unread(postmeter.catalogue_mark) from public;
grant execute on function postmeter.mark_is_unread(postmeter.catalogue_mark) to postmeter_worker;

-- returning it --------------------------------------------------------------------------------------------------------

create or replace trigger append_only before update or delete or truncate on postmeter.allocation
    for each statement when (current_setting('postmeter.ends_allocations', true) is distinct from 'on')
    execute function postmeter.forbid_change();

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
          join postmeter.usage c on c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id)) x;
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
        insert into postmeter.shadow_usage (destination_id, usage_id, org, product, metric, account, quantity, hour, reason, corrected_id)
        select g.destination_id, u.id, u.org, u.product, u.metric, u.account, u.quantity, g.hour, null,
               (select i.usage_id from postmeter.usage_identity i where i.identity = u.corrected_identity)
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
    'Ends the allocations of these usages, with those of their corrections, in these remittances, as far as they are still open, and returns the usage to the outbox (or to its shadow); the caller has the remittances locked alone. Returns how many.';
revoke execute on function postmeter.return_marked(uuid[], bigint[]) from public;
grant execute on function postmeter.return_marked(uuid[], bigint[]) to postmeter_worker;

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
comment on function postmeter.awaited(bigint[]) is 'Of these remittances of marked buyers those that wait: usage that another one counts may come to them, or nobody has read yet to whom theirs belongs.';
revoke execute on function postmeter.awaited(bigint[]) from public;
grant execute on function postmeter.awaited(bigint[]) to postmeter_worker;

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
    'Returns what these remittances of marked buyers count and the catalogue places elsewhere by now, at most so many usages; the caller has the remittances locked alone. Tells of which something was returned. Unread: as marked_usage has it.';
revoke execute on function postmeter.end_marked(bigint[], integer, boolean) from public;
grant execute on function postmeter.end_marked(bigint[], integer, boolean) to postmeter_worker;

-- what was exempt -----------------------------------------------------------------------------------------------------

create function postmeter.marked_exempt(marks bigint[])
returns table (usage_id uuid, exemption_id bigint, org text, product text, metric text, hour timestamptz, quantity numeric,
               to_destination_id integer, to_buyer text, to_dimension text)
language sql stable
begin atomic
    with counted as materialized (
        select x.usage_id, x.exemption_id, u.org, u.product, u.metric, u.account, u.quantity, postmeter.hour_of(u.used_at) as hour,
               postmeter.resolved_at(u.org, u.product, u.used_at) as at, u.corrected_identity
        from (select distinct c.exemption_id from postmeter.catalogue_mark c where c.id = any (marked_exempt.marks) and c.exemption_id is not null) k
        join postmeter.exemption e on e.id = k.exemption_id
        join postmeter.exempted x on x.exemption_id = k.exemption_id
         -- hours that are open are of usage that was recorded lately
         and x.usage_id >= postmeter.id_at(clock_timestamp() - (select max(t.age_limit) + interval '1 day' from postmeter.destination t))
        join postmeter.usage u on u.id = x.usage_id
        where u.org <> e.org or u.product <> e.product or u.used_at < e.valid_from or u.used_at >= e.valid_until
           or u.corrected_identity is not null
    ), kind as materialized (
        select c.org, c.product, c.metric, c.account, c.hour, c.at, row_number() over () as item
        from counted c where c.corrected_identity is null group by 1, 2, 3, 4, 5, 6
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
          and case when d.id is null then k.hour + interval '1 hour' + t.grace > (select postmeter.clock()) else d.status = 'open' end
    ), moved as materialized (
        select c.*, b.destination_id, b.buyer, b.name
        from counted c
        join billed b on b.org = c.org and b.product = c.product and b.metric = c.metric and b.account is not distinct from c.account
         and b.hour = c.hour and b.at = c.at
        where c.corrected_identity is null
    )
    select m.usage_id, m.exemption_id, m.org, m.product, m.metric, m.hour, m.quantity, m.destination_id, m.buyer, m.name from moved m
    union all
    -- a correction goes where what it corrects goes, or has gone
    select c.usage_id, c.exemption_id, c.org, c.product, c.metric, coalesce(m.hour, c.hour), c.quantity, m.destination_id, m.buyer, m.name
    from counted c
    join postmeter.usage_identity i on i.identity = c.corrected_identity
    left join moved m on m.usage_id = i.usage_id
    where c.corrected_identity is not null
      and (m.usage_id is not null or exists (select from postmeter.outbox o
                                             where o.shard = (hashtextextended(c.org, 0) & 1023)::smallint and o.id = i.usage_id)
           or exists (select from postmeter.allocation a join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
                      where a.usage_id = i.usage_id));
end;
comment on function postmeter.marked_exempt(bigint[]) is
    'Usage that is exempt by the exemptions of these marks and that the catalogue counts by now, with its corrections, and where; its hour is still open.';
revoke execute on function postmeter.marked_exempt(bigint[]) from public;
grant execute on function postmeter.marked_exempt(bigint[]) to postmeter_worker, postmeter_operator;

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
    ), ours as materialized (
        select x.usage_id from postmeter.exempted x join family f on f.id = x.usage_id order by x.usage_id for update of x skip locked
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
comment on function postmeter.return_exempted(uuid[]) is 'Returns exempt usage to the outbox, with its corrections; what another session has in hand is passed over. Returns how much.';
revoke execute on function postmeter.return_exempted(uuid[]) from public;
grant execute on function postmeter.return_exempted(uuid[]) to postmeter_worker;

-- what an edit moves, in numbers --------------------------------------------------------------------------------------

create function postmeter.catalogue_moves(since bigint)
returns table (becomes text, destination text, buyer text, dimension text, hour timestamptz, org text, product text, metric text,
               to_destination text, to_buyer text, to_dimension text, usages bigint, quantity numeric)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with marks as materialized (
        select coalesce(array_agg(c.id), '{}') as ids from postmeter.catalogue_mark c where c.id > since
    ), moved as materialized (
        select case when u.exemption_id is not null then 'exempt' when u.reason is not null then 'held: ' || u.reason else 'moved' end as becomes,
               u.destination_id, m.buyer, m.dimension, d.hour, u.org, u.product, u.metric,
               case when u.exemption_id is null and u.reason is null then u.to_destination_id end as to_destination_id,
               case when u.exemption_id is null and u.reason is null then u.to_buyer end as to_buyer,
               case when u.exemption_id is null and u.reason is null then u.to_dimension end as to_dimension, u.quantity
        from marks k
        cross join lateral postmeter.marked_usage(k.ids, null, true) u
        join postmeter.delivery d on d.id = u.delivery_id
        join postmeter.meter m on m.id = d.meter_id
        union all
        select 'billed', null, null, null, x.hour, x.org, x.product, x.metric, x.to_destination_id, x.to_buyer, x.to_dimension, x.quantity
        from marks k
        cross join lateral postmeter.marked_exempt(k.ids) x
        union all
        -- held usage that this edit has sent back to the outbox
        select 'resolved anew', null, null, null, postmeter.hour_of(o.used_at), o.org, o.product, o.metric, null, null, null, o.quantity
        from postmeter.outbox o
        where o.returned and o.xmin = pg_current_xact_id()::xid
        union all
        -- what the next cut counts by another cover
        select 'covered anew', a.destination_id, m.buyer, m.dimension, d.hour, s.org, s.product, mm.metric, null, null, null, a.quantity
        from (select distinct (coalesce(c.new_row, c.old_row) ->> 'subscription_id')::bigint as subscription_id,
                     coalesce(c.new_row, c.old_row) ->> 'metric' as metric
              from postmeter.catalogue_change c
              where c.entry = 'cover' and c.xmin = pg_current_xact_id()::xid) c
        join postmeter.subscription s on s.id = c.subscription_id
        join postmeter.destination t on t.id = s.destination_id
        join postmeter.allocation a on a.subscription_id = s.id and a.hour > postmeter.clock() - t.age_limit - interval '1 day'
        join postmeter.delivery d on d.id = a.delivery_id and d.status = 'open' and d.round = a.round
        join postmeter.meter m on m.id = d.meter_id
        join postmeter.meter_metric mm on mm.id = a.meter_metric_id and mm.metric = c.metric
    )
    select m.becomes, f.name, m.buyer, m.dimension, m.hour, m.org, m.product, m.metric, t.name, m.to_buyer, m.to_dimension,
           count(*), trim_scale(sum(m.quantity))
    from moved m
    left join postmeter.destination f on f.id = m.destination_id
    left join postmeter.destination t on t.id = m.to_destination_id
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
$$;
comment on function postmeter.catalogue_moves(bigint) is
    'Within the transaction of an edit of the catalogue: what it changes of usage whose hour is open, by hour, org and metric. Since: the last mark before the edit.';
revoke execute on function postmeter.catalogue_moves(bigint) from public;
grant execute on function postmeter.catalogue_moves(bigint) to postmeter_operator;

-- marking -------------------------------------------------------------------------------------------------------------

create function postmeter.recorded_until() returns timestamptz
language sql stable
begin atomic
    select postmeter.hour_of(postmeter.clock() + s.usage_lead_max) + interval '1 hour' from postmeter.setting s;
end;
comment on function postmeter.recorded_until() is 'Usage of later hours cannot have been recorded yet: what the catalogue changes for them moves nothing.';
revoke execute on function postmeter.recorded_until() from public;

create function postmeter.subscription_marks() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and (old.org, old.product, old.account, old.destination_id, old.buyer, old.invalid, old.valid_from)
           is not distinct from (new.org, new.product, new.account, new.destination_id, new.buyer, new.invalid, new.valid_from) then
        if old.valid_until is not distinct from new.valid_until or least(old.valid_until, new.valid_until) >= postmeter.recorded_until() then
            return null;
        end if;
    elsif least(old.valid_from, new.valid_from) >= postmeter.recorded_until() then
        return null;
    end if;
    insert into postmeter.catalogue_mark (destination_id, buyer, org, product, is_awaited)
    select x.destination_id, x.buyer, coalesce(new.org, old.org), coalesce(new.product, old.product), x.buyers > 1
    from (
        select b.destination_id, b.buyer, count(*) over () as buyers
        from (
            select old.destination_id, old.buyer
            union
            select new.destination_id, new.buyer
            union
            -- to whom the org's usage can go, or from whom it can come
            select s.destination_id, s.buyer
            from postmeter.subscription s
            join postmeter.destination t on t.id = s.destination_id
            where (s.org, s.product) in ((old.org, old.product), (new.org, new.product))
              and (s.valid_until is null or s.valid_until > postmeter.clock() - t.age_limit)
              and s.valid_from < postmeter.recorded_until()
            union
            -- for whom it was counted before an identity was changed that has been read now
            select c.destination_id, c.buyer
            from postmeter.catalogue_mark c
            where (c.org, c.product) in ((old.org, old.product), (new.org, new.product))
        ) b(destination_id, buyer)
        where b.buyer is not null
    ) x
    -- nothing can be counted of an org that has nobody else, and had nobody
    where x.buyers > 1 or old.buyer is not null
    order by x.destination_id, x.buyer;
    return null;
end
$$;
comment on function postmeter.subscription_marks() is 'Trigger of subscription: marks the buyers of its org (catalogue_mark), in whose open hours usage may be counted that belongs elsewhere by now; it is returned in shares.';
revoke execute on function postmeter.subscription_marks() from public;
create trigger subscription_marks after insert or update or delete on postmeter.subscription
    for each row execute function postmeter.subscription_marks();

create function postmeter.contract_marks() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- of its own org the subscription's edit has marked all; what it decides for others of its buyer is not in it
    insert into postmeter.catalogue_mark (destination_id, buyer, org, product, is_awaited)
    select s.destination_id, s.buyer, s.org, s.product, false
    from postmeter.subscription s
    where s.id = coalesce(new.subscription_id, old.subscription_id) and s.buyer <> coalesce(new.contract, old.contract)
      and not exists (select from postmeter.catalogue_mark c
                      where c.destination_id = s.destination_id and c.buyer = s.buyer and c.org = s.org and c.awaits is null);
    return null;
end
$$;
comment on function postmeter.contract_marks() is 'Trigger of contract_member: marks the buyer of a subscription that belongs to another contract by now (catalogue_mark); what its open hours count is returned in shares and counted there.';
revoke execute on function postmeter.contract_marks() from public;
create trigger contract_marks after insert or delete on postmeter.contract_member
    for each row execute function postmeter.contract_marks();

create function postmeter.exemption_marks() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if least(old.valid_from, new.valid_from) >= postmeter.recorded_until()
       or tg_op = 'UPDATE' and (old.org, old.product, old.valid_from, old.valid_until)
              is not distinct from (new.org, new.product, new.valid_from, new.valid_until) then
        return null;
    end if;
    insert into postmeter.catalogue_mark (destination_id, buyer, org, exemption_id, is_awaited)
    select s.destination_id, s.buyer, s.org, max(old.id), tg_op <> 'INSERT'
    from postmeter.subscription s
    join postmeter.destination t on t.id = s.destination_id
    where s.org in (old.org, new.org) and s.buyer is not null
      and (s.valid_until is null or s.valid_until > postmeter.clock() - t.age_limit) and s.valid_from < postmeter.recorded_until()
    group by 1, 2, 3
    order by 1, 2, 3;
    return null;
end
$$;
comment on function postmeter.exemption_marks() is 'Trigger of exemption: marks the buyers of its org (catalogue_mark); what their open hours count and is exempt now is returned in shares, and what was exempt and is not any more.';
revoke execute on function postmeter.exemption_marks() from public;
create trigger exemption_marks after insert or update or delete on postmeter.exemption
    for each row execute function postmeter.exemption_marks();

create function postmeter.dimension_marks() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and (old.destination_id, old.product, old.metric, old.name, old.valid_from)
           is not distinct from (new.destination_id, new.product, new.metric, new.name, new.valid_from)
       or least(old.valid_from, new.valid_from) > postmeter.recorded_until() then
        return null;
    end if;
    -- what had no dimension was held, and is cured
    if tg_op = 'INSERT' and not exists (
        select from postmeter.dimension d
        where d.id <> new.id and d.destination_id = new.destination_id and d.product = new.product and d.metric = new.metric) then
        return null;
    end if;
    insert into postmeter.catalogue_mark (destination_id, buyer, product, is_awaited)
    select x.destination_id, x.buyer, x.product, true
    from (
        select s.destination_id, s.buyer, s.product
        from postmeter.subscription s
        join postmeter.destination t on t.id = s.destination_id
        where (s.destination_id, s.product) in ((old.destination_id, old.product), (new.destination_id, new.product)) and s.buyer is not null
          and (s.valid_until is null or s.valid_until > postmeter.clock() - t.age_limit) and s.valid_from < postmeter.recorded_until()
        group by 1, 2, 3
    ) x
    order by 1, 2;
    return null;
end
$$;
comment on function postmeter.dimension_marks() is 'Trigger of dimension: where a metric of a product is called otherwise, all its buyers are marked (catalogue_mark); what their open hours count under the old name is returned in shares.';
revoke execute on function postmeter.dimension_marks() from public;
create trigger dimension_marks after insert or update or delete on postmeter.dimension
    for each row execute function postmeter.dimension_marks();

-- setbacks of the step that returns it ---------------------------------------------------------------------------------

do $patch$
declare
    definition text;
    changed    text;
begin
    select pg_get_functiondef('postmeter.setback_is_over(text, text)'::regprocedure) into strict definition;
    changed := replace(definition, $a$        when step in ('settle', 'reap') then$a$, $b$        when step = 'marked' then
            -- it is counted in no open hour of a marked buyer any more
            return not exists (
                select from postmeter.allocation a
                join postmeter.delivery d on d.id = a.delivery_id and d.status = 'open' and d.round = a.round
                join postmeter.meter m on m.id = d.meter_id
                join postmeter.catalogue_mark c on c.destination_id = m.destination_id and c.buyer = m.buyer
                where a.usage_id = setback_is_over.member::uuid);
        when step in ('settle', 'reap') then$b$);
    if changed = definition then
        raise exception 'setback_is_over is not as this migration knows it';
    end if;
    execute changed;
end
$patch$;

insert into postmeter.migration (version, name) values (47, '0047_pre_catalogue_at_the_cut');
