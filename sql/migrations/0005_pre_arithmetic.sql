-- 0005_pre_arithmetic: which remittance a usage belongs to, until when, and how much it bills.
-- programs: from 0005
-- lock: access exclusive on allocation, grows with its rows: a first partition; the default one is read
-- lock: access exclusive on attempt, grows with its rows: a first partition; the default one is read
-- lock: access exclusive on outcome, grows with its rows: a first partition; the default one is read
-- lock: access exclusive on usage, grows with its rows: a first partition; the default one is read
-- lock: share row exclusive on dimension, for a moment: a trigger
-- lock: share row exclusive on exemption, for a moment: a trigger
-- lock: share row exclusive on subscription, for a moment: a trigger

create function postmeter.remittance_key(buyer text, dimension text, hour timestamptz) returns text
language sql stable parallel safe
as $$ select buyer || '/' || dimension || '/' || to_char(hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') $$;
comment on function postmeter.remittance_key(text, text, timestamptz) is 'Canonical key of a remittance; the program builds the same text.';

create function postmeter.resolve(orgs text[], products text[], metrics text[], accounts text[], hours timestamptz[], shadow integer default null)
returns table (item bigint, destination_id integer, subscription_id bigint, buyer text, identity jsonb,
               dimension_id bigint, exemption_id bigint, reason text)
language sql stable
as $$
    with wanted as materialized (
        select * from unnest(orgs, products, metrics, accounts, hours) with ordinality u(org, product, metric, account, hour, item)
    ), matching as materialized (
        select w.item, min(s.id) as subscription_id, count(*) as subscriptions
        from wanted w
        join postmeter.subscription s on s.org = w.org and s.product = w.product
         and (w.account is null or s.account = w.account)
         and s.valid_from <= w.hour and (s.valid_until is null or w.hour < s.valid_until)
         and case when resolve.shadow is null then s.destination_id not in (select x.id from postmeter.destination x where x.shadow_of is not null)
                  else s.destination_id = resolve.shadow end
        group by w.item
    )
    select w.item, s.destination_id, s.id, s.buyer, s.identity, d.id, e.id,
           case when e.id is not null then null
                when m.item is null then 'no_subscription'
                when m.subscriptions > 1 then 'ambiguous_subscription'
                when s.buyer is null then 'invalid_subscription'
                when d.id is null then 'unmapped_dimension'
                when exists (select from postmeter.closed_month c
                             where c.destination_id = s.destination_id and c.month = postmeter.month_of(w.hour, t.zone))
                    then 'month_closed' end
    from wanted w
    left join matching m on m.item = w.item
    left join postmeter.subscription s on s.id = m.subscription_id
    left join postmeter.destination t on t.id = s.destination_id
    left join lateral (
        select d.id from postmeter.dimension d
        where d.destination_id = s.destination_id and d.product = w.product and d.metric = w.metric
          and d.valid_from <= postmeter.month_of(w.hour, t.zone)
        order by d.valid_from desc limit 1
    ) d on true
    left join lateral (
        select e.id from postmeter.exemption e
        where e.org = w.org and (e.product is null or e.product = w.product)
          and e.valid_from <= w.hour and (e.valid_until is null or w.hour < e.valid_until)
        order by e.id limit 1
    ) e on true
$$;
comment on function postmeter.resolve(text[], text[], text[], text[], timestamptz[], integer) is
    'For each org, product, metric, account and hour: the subscription and dimension that apply, the exemption, or the reason why none does; among the live destinations, or at the one shadow that is named. The one home of that rule.';

create function postmeter.check_resolved(usage_ids uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    bad record;
begin
    select u.event_id, r.reason, r.item into bad
    from (select array_agg(u.org order by u.id) o, array_agg(u.product order by u.id) p, array_agg(u.metric order by u.id) m,
                 array_agg(u.account order by u.id) a, array_agg(postmeter.hour_of(u.used_at) order by u.id) h,
                 array_agg(u.event_id order by u.id) e
          from postmeter.usage u where u.id = any (usage_ids)) g,
         postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r, lateral (select g.e[r.item] as event_id) u
    where r.reason <> 'month_closed' limit 1;  -- late is nobody's mistake: it is recorded, and held
    if found then
        raise exception 'usage %: %', quote_literal(bad.event_id), replace(bad.reason, '_', ' ')
            using errcode = 'PM007', schema = 'postmeter', table = 'outbox',
                  column = case bad.reason when 'unmapped_dimension' then 'metric' else 'org' end, constraint = bad.reason,
                  hint = 'Setting unresolved is refuse: the catalogue must know the usage before it is recorded.';
    end if;
end
$$;
comment on function postmeter.check_resolved(uuid[]) is 'With setting unresolved = refuse: refuses usage that the catalogue does not resolve (PM007).';

create function postmeter.deadline_of(destination_id integer, buyer text, hour timestamptz) returns timestamptz
language sql stable
as $$
    select least(hour + t.age_limit,
                 ((postmeter.month_of(hour, t.zone) + interval '1 month')::timestamp at time zone t.zone) + t.month_cutoff,
                 (select case when bool_or(s.valid_until is null) then null else max(s.valid_until) end
                  from postmeter.subscription s
                  where s.destination_id = t.id and s.buyer = deadline_of.buyer) + t.closing_window) - t.margin
    from postmeter.destination t where t.id = deadline_of.destination_id
$$;
comment on function postmeter.deadline_of(integer, text, timestamptz) is
    'Last moment at which an hour may be sent: earliest of age limit, month cut-off and end of subscription plus closing window, less the margin.';

create function postmeter.round_units(units numeric, denominator numeric, rounding text, decimals integer) returns numeric
language sql immutable parallel safe
as $$
    -- integers x quantity only: a quotient would be cut off and ceil(20*(1/60)*3) become 2
    select (w.whole + case rounding
                when 'up' then (w.rest > 0)::integer
                when 'nearest' then (2 * w.rest >= denominator)::integer
                else 0 end) * (0.1 ^ decimals)::numeric(20, 15)
    from (select div(s.scaled, denominator) - (mod(s.scaled, denominator) < 0)::integer as whole,
                 mod(mod(s.scaled, denominator) + denominator, denominator) as rest
          from (select units * (10::numeric ^ decimals)::numeric(20, 0) as scaled) s) w
$$;
comment on function postmeter.round_units(numeric, numeric, text, integer) is
    'units / denominator rounded up, down or to the nearest with so many decimals, exactly.';

create function postmeter.month_gate() returns void
language sql volatile
as $$ select pg_advisory_xact_lock_shared(hashtextextended('postmeter.closed_month', 0)) $$;
comment on function postmeter.month_gate() is 'Until this transaction ends no month is closed. Whoever opens an hour or allocates goes through it first and looks at closed_month in a later statement.';

create function postmeter.target_hour(meter_id bigint) returns timestamptz
language sql stable
as $$
    select h.hour
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id
    cross join (select postmeter.clock() as now) c
    cross join generate_series(0, (extract(epoch from t.age_limit) / 3600)::integer) back
    cross join lateral (
        select postmeter.hour_of(c.now) - back * interval '1 hour' as hour) h
    cross join lateral (
        select postmeter.deadline_of(m.destination_id, m.buyer, h.hour) as deadline) l
    where m.id = target_hour.meter_id
      and postmeter.month_of(h.hour, t.zone) = m.month
      and not exists (select from postmeter.closed_month c where c.destination_id = m.destination_id and c.month = m.month)
      and exists (select from postmeter.subscription s
                  where s.destination_id = m.destination_id and s.buyer = m.buyer
                    and s.valid_from <= h.hour and (s.valid_until is null or h.hour < s.valid_until))
      and l.deadline >= c.now
      and not exists (select from postmeter.delivery d
                      where d.meter_id = m.id and d.hour = h.hour and d.status not in ('open', 'nothing_due'))
    -- a closed hour with time for retries, the newest first; then the running hour; a closed hour near its deadline last
    order by case when back > 0 and l.deadline >= c.now + greatest(t.lead, t.age_limit / 4) then 0 when back = 0 then 1 else 2 end, back
    limit 1
$$;
comment on function postmeter.target_hour(bigint) is
    'Where a meter''s late or released quantity can go: the newest closed hour of its month that was never sent and has time for retries (a quarter of the age limit), else the running hour if it is of that month, else a closed hour nearer its deadline, else null. Null too if its month is closed.';

create function postmeter.open_hour_at(meter_id bigint, hour timestamptz, identity jsonb, product text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    opened postmeter.delivery;
begin
    perform postmeter.month_gate();
    perform 1 from postmeter.meter m
    join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
    where m.id = open_hour_at.meter_id;
    if found then
        return null;
    end if;
    insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, deadline, shadow)
    select m.destination_id, postmeter.remittance_key(m.buyer, m.dimension, open_hour_at.hour), m.id, open_hour_at.hour,
           open_hour_at.identity, open_hour_at.product,
           postmeter.deadline_of(m.destination_id, m.buyer, open_hour_at.hour), t.shadow_of is not null
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id
    where m.id = open_hour_at.meter_id
    on conflict do nothing;
    select d.* into strict opened from postmeter.delivery d
    where d.meter_id = open_hour_at.meter_id and d.hour = open_hour_at.hour for update;
    if opened.status = 'nothing_due' then
        update postmeter.delivery d
        set status = 'open', quantity = null, opened_at = postmeter.clock(), changed_at = postmeter.clock()
        where d.id = opened.id;
    elsif opened.status <> 'open' then
        return null;
    end if;
    insert into postmeter.open_hour (delivery_id, destination_id, hour)
    values (opened.id, opened.destination_id, opened.hour) on conflict do nothing;
    return opened.id;
end
$$;
comment on function postmeter.open_hour_at(bigint, timestamptz, jsonb, text) is
    'Opens an hour of a meter, or opens it again if nothing was due; returns the remittance, or null if it was sent or its month is closed. The caller holds the meter''s lock.';

create table postmeter.part (
    delivery_id bigint not null,
    meter_id    bigint not null,
    primary key (delivery_id, meter_id)
);
create index part_by_meter on postmeter.part (meter_id);
comment on table postmeter.part is 'Earlier months'' meters that a remittance also counts: their late or released quantity is a part of its own.';
comment on column postmeter.part.delivery_id is 'The remittance.';
comment on column postmeter.part.meter_id is 'The meter of an earlier month.';

create function postmeter.lock_meters(meters bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    now timestamptz := postmeter.clock();
begin
    -- made before any lock is taken, in the order of their keys, as fold makes them
    insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
    select distinct on (1, 2, 3, 4)
           m.destination_id, m.buyer, m.dimension, postmeter.month_of(now, t.zone), m.rounding, m.decimals, m.month_end
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id
    where m.id = any (meters) and t.late_policy = 'part' and m.month < postmeter.month_of(now, t.zone)
      and not exists (select from postmeter.closed_month c where c.destination_id = t.id and c.month = m.month)
      and exists (select from postmeter.subscription s
                  where s.destination_id = t.id and s.buyer = m.buyer and s.valid_from <= now
                    and (s.valid_until is null or now < s.valid_until))
      and not exists (select from postmeter.meter r
                      where r.destination_id = m.destination_id and r.buyer = m.buyer and r.dimension = m.dimension
                        and r.month = postmeter.month_of(now, t.zone))
    order by 1, 2, 3, 4
    on conflict do nothing;
    perform 1 from postmeter.meter l
    where l.id in (
        select unnest(meters)
        union
        select r.id
        from postmeter.meter m
        join postmeter.destination t on t.id = m.destination_id
        join postmeter.meter r on r.destination_id = m.destination_id and r.buyer = m.buyer and r.dimension = m.dimension
                              and r.month = postmeter.month_of(now, t.zone)
        where m.id = any (meters) and t.late_policy = 'part')
    order by l.id for update;
end
$$;
comment on function postmeter.lock_meters(bigint[]) is
    'Locks meters in the order of their numbers, together with those of the running month to which their late or released quantity may go as a part: nobody who needs both takes one of them late.';

create function postmeter.open_target(meter_id bigint, identity jsonb, product text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    late    postmeter.meter;
    running bigint;
    target  timestamptz;
    now     timestamptz := postmeter.clock();
begin
    perform postmeter.month_gate();
    perform postmeter.lock_meters(array[open_target.meter_id]);
    select m.* into strict late from postmeter.meter m where m.id = open_target.meter_id;
    target := postmeter.target_hour(late.id);
    if target is not null then
        return postmeter.open_hour_at(late.id, target, identity, product);
    end if;
    perform 1 from postmeter.destination t
    where t.id = late.destination_id and t.late_policy = 'part'
      and not exists (select from postmeter.closed_month c where c.destination_id = t.id and c.month = late.month)
      and exists (select from postmeter.subscription s
                  where s.destination_id = t.id and s.buyer = late.buyer and s.valid_from <= now
                    and (s.valid_until is null or now < s.valid_until));
    if not found then
        return null;
    end if;
    select m.id into strict running from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id
    where m.destination_id = late.destination_id and m.buyer = late.buyer and m.dimension = late.dimension
      and m.month = postmeter.month_of(now, t.zone);
    running := postmeter.open_hour_at(running, postmeter.hour_of(now), identity, product);
    if running is not null then
        -- released quantity brings no allocation: the cut must know that this meter counts here
        insert into postmeter.part (delivery_id, meter_id) values (running, late.id) on conflict do nothing;
    end if;
    return running;
end
$$;
comment on function postmeter.open_target(bigint, jsonb, text) is
    'Opens the hour to which a meter''s late or released quantity goes (target_hour, else by policy the running hour, as a part) and returns its remittance; null if there is none.';

create function postmeter.return_held(usage_ids uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    returned bigint;
begin
    with cured as (
        delete from postmeter.held h where h.usage_id = any (usage_ids) returning h.usage_id
    )
    insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                  request_id, traceparent, attributes, returned)
    select u.id, u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects,
           u.request_id, u.traceparent, u.attributes, true
    from cured c join postmeter.usage u on u.id = c.usage_id;
    get diagnostics returned = row_count;
    return returned;
end
$$;
comment on function postmeter.return_held(uuid[]) is 'Sends held usage back to the outbox.';

create function postmeter.return_cured(most integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    cured uuid[];
begin
    with waiting as materialized (
        select h.* from postmeter.held h
        where h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
        for update skip locked
    ), kinds as materialized (
        select w.org, w.product, w.metric, w.account, w.hour, w.reason, row_number() over () as item
        from waiting w group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
               array_agg(k.account order by k.item) a, array_agg(k.hour order by k.item) h
        from kinds k
    ), changed as (
        select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r join kinds k on k.item = r.item
        where r.reason is distinct from k.reason
    )
    select array_agg(w.usage_id) into cured
    from (select w.usage_id from waiting w
          join changed k on k.org = w.org and k.product = w.product and k.metric = w.metric
           and k.account is not distinct from w.account and k.hour = w.hour and k.reason = w.reason
          limit most) w;
    return coalesce(postmeter.return_held(cured), 0);
end
$$;
comment on function postmeter.return_cured(integer) is
    'Sends back to the outbox held usage whose reason no longer holds. A catalogue change calls it; maintenance calls it too, since a fold and a catalogue change can miss each other.';

create function postmeter.cure_held() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform postmeter.return_cured(1000000);
    return null;
end
$$;
comment on function postmeter.cure_held() is 'Trigger of the catalogue: what a change cures goes back to the outbox in the same transaction.';
create trigger cure_held after insert or update or delete on postmeter.subscription for each statement execute function postmeter.cure_held();
create trigger cure_held after insert or update or delete on postmeter.dimension for each statement execute function postmeter.cure_held();
create trigger cure_held after insert or update or delete on postmeter.exemption for each statement execute function postmeter.cure_held();

create function postmeter.deadlines_follow() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update postmeter.delivery d
    set deadline = x.deadline
    from (
        select o.id, n.deadline
        from postmeter.destination t
        join postmeter.meter m on m.destination_id = t.id and m.buyer = new.buyer
        join postmeter.delivery o on o.meter_id = m.id and o.hour > postmeter.clock() - t.age_limit
        cross join lateral (select postmeter.deadline_of(t.id, m.buyer, o.hour) as deadline) n
        where t.id = new.destination_id and n.deadline <> o.deadline
          and o.status in ('open', 'nothing_due', 'due', 'rejected', 'unknown', 'held')
        order by o.id for update of o
    ) x
    where d.id = x.id;
    return null;
end
$$;
comment on function postmeter.deadlines_follow() is 'Trigger of subscription: one that ends or is renewed moves the deadlines of the hours that are not sent yet.';
create trigger deadlines_follow after insert or update on postmeter.subscription
    for each row when (new.buyer is not null) execute function postmeter.deadlines_follow();

create function postmeter.create_partitions(months_ahead integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
declare
    parent text;
    month  timestamptz;
    child  text;
    made   integer := 0;
begin
    -- ids are made from the server's clock, so partitions follow it too
    for month in select generate_series(date_trunc('month', clock_timestamp(), 'UTC'),
                                        date_trunc('month', clock_timestamp(), 'UTC') + months_ahead * interval '1 month', interval '1 month') loop
        foreach parent in array array['usage', 'allocation', 'attempt', 'outcome'] loop
            child := parent || to_char(month at time zone 'UTC', '_YYYYMM');
            if to_regclass('postmeter.' || child) is null then
                execute format('create table postmeter.%I partition of postmeter.%I for values from (%L) to (%L)', child, parent,
                    postmeter.id_at(month), postmeter.id_at(date_trunc('month', month + interval '40 days', 'UTC')));
                -- triggers for statements are not handed down
                execute format('create trigger append_only before update or delete or truncate on postmeter.%I
                                for each statement execute function postmeter.forbid_change()', child);
                execute format('comment on table postmeter.%I is %L', child, 'Partition of postmeter.' || parent || ' for a month of recording.');
                made := made + 1;
            end if;
        end loop;
    end loop;
    return made;
end
$$;
comment on function postmeter.create_partitions(integer) is 'Creates the monthly partitions of usage, allocation, attempt and outcome from this month on; returns how many were made. Gives up after 100 ms behind a lock, so that nobody queues behind it; the next round tries again.';
select postmeter.create_partitions(1);

create function postmeter.open_late(meter_id bigint, hour timestamptz, identity jsonb, product text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    target bigint := postmeter.open_target(meter_id, identity, product);
begin
    if target is not null then
        return target;
    end if;
    perform 1 from postmeter.meter m join postmeter.destination t on t.id = m.destination_id
    where m.id = open_late.meter_id and t.late_policy <> 'hold';
    if not found then
        return null;
    end if;
    -- no hour of its month can take it: its own, if it was never sent, so that it shows as expired
    return postmeter.open_hour_at(meter_id, hour, identity, product);
end
$$;
comment on function postmeter.open_late(bigint, timestamptz, jsonb, text) is
    'The remittance that takes late usage of a meter: by open_target; else its own hour, to expire there; null: it must be held.';

insert into postmeter.migration (version, name) values (5, '0005_pre_arithmetic');
