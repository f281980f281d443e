-- Into which hour late and released quantity goes.

create function postmeter.target_hour(meter_id bigint) returns timestamptz
language sql stable cost 10000 set search_path = pg_catalog, pg_temp
as $$ select w.hour from postmeter.target_way(target_hour.meter_id) w$$;
comment on function postmeter.target_hour(bigint) is
    'Where a meter''s late or released quantity can go: the newest closed hour of its month that was never sent '
    'and has time for retries (a quarter of the age limit), else the running hour if it is of that month, else a '
    'closed hour nearer its deadline, else null; of its own key, else of another key of its contract. Null too if '
    'its month is closed.';

create function postmeter.open_hour_at(meter_id bigint, hour timestamptz, identity jsonb, product text)
returns bigint
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
    -- a contract with a name is nobody's key
    perform 1 from postmeter.meter m where m.id = open_hour_at.meter_id and m.buyer like 'contract:%';
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
    'Opens an hour of a meter, or opens it again if nothing was due; returns the remittance, or null if it was '
    'sent or its month is closed. The caller holds the meter''s lock.';

create function postmeter.open_target(meter_id bigint, identity jsonb, product text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    late   postmeter.meter;
    way    record;
    sent   record;
    opened bigint;
    now    timestamptz := postmeter.clock();
begin
    perform postmeter.month_gate();
    perform postmeter.lock_meters(array[open_target.meter_id]);
    select m.* into strict late from postmeter.meter m where m.id = open_target.meter_id;
    select w.* into way from postmeter.target_way_as(late.id, open_target.identity) w;
    if not found then
        select m.id as key_meter_id, postmeter.hour_of(now) as hour into way
        from postmeter.destination t
        join postmeter.meter m on m.destination_id = t.id and m.dimension = late.dimension
         and m.buyer = postmeter.part_key(late.id, open_target.identity)
         and m.month = postmeter.month_of(now, t.zone)
        where t.id = late.destination_id and t.late_policy = 'part'
          and not exists (select from postmeter.closed_month c where c.destination_id = t.id and c.month = late.month);
        if not found then
            return null;
        end if;
    end if;
    select i.* into sent from postmeter.identity_at(way.key_meter_id, way.hour, open_target.identity,
        open_target.product) i;
    opened := postmeter.open_hour_at(way.key_meter_id, way.hour, coalesce(sent.identity, open_target.identity),
                                     coalesce(sent.product, open_target.product));
    if opened is not null and way.key_meter_id <> late.id then
        -- released quantity brings no allocation: the cut must know that this meter counts here
        insert into postmeter.part (delivery_id, meter_id) values (opened, late.id) on conflict do nothing;
    end if;
    return opened;
end
$$;
comment on function postmeter.open_target(bigint, jsonb, text) is
    'Opens the hour to which a meter''s late or released quantity goes (target_way, else by policy the running '
    'hour, as a part) and returns its remittance; null if there is none.';

create function postmeter.open_late(meter_id bigint, hour timestamptz, identity jsonb, product text)
returns bigint
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
    return postmeter.open_hour_at(coalesce(postmeter.key_of_identity(meter_id, identity), meter_id), hour, identity,
        product);
end
$$;
comment on function postmeter.open_late(bigint, timestamptz, jsonb, text) is
    'The remittance that takes late usage of a meter: by open_target; else its own hour, to expire there; null: it '
    'must be held.';

-- where each key of the contract could send was asked of every meter of the month, for want of a fence
create function postmeter.target_hour_of_key(meter_id bigint) returns timestamptz
language plpgsql stable cost 10000 set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    the_clock  timestamptz := postmeter.clock();
    the_break  timestamptz := coalesce(postmeter.broken_at(), '-infinity');
begin
    return (
        select h.hour
        from postmeter.meter m
        join postmeter.destination t on t.id = m.destination_id
        cross join generate_series(0, (extract(epoch from t.age_limit) / 3600)::integer) back
        cross join lateral (
            select postmeter.hour_of(the_clock) - back * interval '1 hour' as hour) h
        cross join lateral (
            select postmeter.deadline_of(m.destination_id, m.buyer, h.hour) as deadline) l
        where m.id = target_hour_of_key.meter_id
          and postmeter.month_of(h.hour, t.zone) = m.month
          and not exists (select from postmeter.closed_month c where c.destination_id = m.destination_id
              and c.month = m.month)
          and exists (select from postmeter.subscription s
                      where s.destination_id = m.destination_id and s.buyer = m.buyer
                        and s.valid_from < h.hour + interval '1 hour'
                            and (s.valid_until is null or h.hour < s.valid_until))
          and l.deadline >= the_clock
          and not exists (select from postmeter.delivery d
                          where d.meter_id = m.id and d.hour = h.hour and d.status not in ('open', 'nothing_due'))
        -- a closed hour with time for retries, the newest first; then the running hour; a closed hour near its deadline
        -- last
        order by h.hour + interval '1 hour' <= the_break,
                 case when back > 0 and l.deadline >= the_clock + greatest(t.lead, t.age_limit / 4) then 0 when back = 0
                     then 1 else 2 end, back
        limit 1
    );
end
$$;
comment on function postmeter.target_hour_of_key(bigint) is
    'The hour under a meter''s own key to which late or released quantity can go: the newest closed hour of its '
    'month that was never sent and has time for retries (a quarter of the age limit), else the running hour if it '
    'is of that month, else a closed hour nearer its deadline, else null. Null too if its month is closed.';

-- "is it one of the contract's" was asked again for every meter of the dimension and month: a second at 100 meters each
create function postmeter.contract_keys(meter_id bigint) returns table (key_meter_id bigint)
language sql stable
begin atomic
select distinct k.id
    from postmeter.meter m
    cross join postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) c
    join postmeter.subscription s on s.id = c.subscription_id and s.buyer <> m.buyer
    join postmeter.meter k on k.destination_id = m.destination_id and k.buyer = s.buyer and k.dimension = m.dimension
        and k.month = m.month
    where m.id = contract_keys.meter_id;
end;
comment on function postmeter.contract_keys(bigint) is
    'The meters of the other keys under which a meter''s contract is sent in its month: where its buyer has '
    'changed.';

create function postmeter.target_way(meter_id bigint) returns table (key_meter_id bigint, hour timestamptz)
language plpgsql stable cost 10000 set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    own timestamptz := postmeter.target_hour_of_key(target_way.meter_id);
begin
    if own is not null then
        return query select target_way.meter_id, own;
        return;
    end if;
    return query
    with other as materialized (
        select k.key_meter_id from postmeter.contract_keys(target_way.meter_id) k
    )
    select o.key_meter_id, h.hour
    from other o
    cross join lateral (select postmeter.target_hour_of_key(o.key_meter_id) as hour) h
    where h.hour is not null
    order by h.hour desc, o.key_meter_id
    limit 1;
end
$$;
comment on function postmeter.target_way(bigint) is
    'The hour to which a meter''s late or released quantity can go, and the meter of the key under which it is '
    'sent: its own, else another one of its contract. No row if there is none.';

create function postmeter.open_last_hour(meter_id bigint, hour timestamptz, identity jsonb, product text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    last   postmeter.meter;
    key    bigint;
    sent   record;
    opened bigint;
begin
    perform postmeter.lock_meters(array[open_last_hour.meter_id]);
    select m.* into strict last from postmeter.meter m where m.id = open_last_hour.meter_id;
    select k.id into key
    from postmeter.meter k
    where k.destination_id = last.destination_id and k.dimension = last.dimension and k.month = last.month
      and k.buyer = postmeter.key_of_hour(last.id, open_last_hour.hour);
    if key is null or key = last.id then
        return postmeter.open_hour_at(last.id, hour, identity, product);
    end if;
    select i.* into strict sent from postmeter.identity_at(key, open_last_hour.hour, open_last_hour.identity,
        open_last_hour.product) i;
    opened := postmeter.open_hour_at(key, hour, sent.identity, sent.product);
    if opened is not null then
        insert into postmeter.part (delivery_id, meter_id) values (opened, last.id) on conflict do nothing;
    end if;
    return opened;
end
$$;
comment on function postmeter.open_last_hour(bigint, timestamptz, jsonb, text) is
    'Opens the last hour of a meter, under the key of its contract that is valid then, and returns the remittance; '
    'null if it was sent or its month is closed.';

create function postmeter.target_way_as(meter_id bigint, identity jsonb)
returns table (key_meter_id bigint, hour timestamptz)
language sql stable cost 10000 set search_path = pg_catalog, pg_temp
as $$
    with own as materialized (
        select k.id, postmeter.target_hour_of_key(k.id) as hour
        from (select coalesce(postmeter.key_of_identity(target_way_as.meter_id, target_way_as.identity),
            target_way_as.meter_id) as id) k
    )
    select o.id, o.hour from own o where o.hour is not null
    union all
    select w.key_meter_id, w.hour from own o cross join lateral postmeter.target_way(target_way_as.meter_id) w
        where o.hour is null
$$;
comment on function postmeter.target_way_as(bigint, jsonb) is
    'As target_way, but first under the key of the identity under which it was used: a contract may have several.';
