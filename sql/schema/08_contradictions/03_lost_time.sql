-- After a failover or restore that lost commits.

create function postmeter.timeline_went_back(who text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t       text;
    noted   bigint;
    -- commits are lost in order: this one is there, so nothing before it is lost
    last_at timestamptz := coalesce((select a.claimed_at from postmeter.attempt a order by a.id desc limit 1),
        '-infinity');
begin
    perform postmeter.check_decider(who, why);
    insert into postmeter.timeline_break (who, why, timeline, server_started_at)
    values (who, why, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), pg_postmaster_start_time())
    on conflict do nothing returning id into noted;
    if noted is null then
        return false;
    end if;
    perform postmeter.withhold_all(noted);
    -- what may have been sent in the time that was lost: only evidence or a person moves it on
    update postmeter.delivery d
    set maybe_billed = true,
        maybe_since = d.hour + interval '1 hour' - coalesce((select t.memory from postmeter.destination t
            where t.id = d.destination_id), interval '0')
    from (select x.id from postmeter.delivery x
          where x.status in ('due', 'in_flight', 'held') and not x.maybe_billed and not x.shadow and x.body is not null
            and x.hour + interval '1 hour' <= postmeter.clock() order by x.id for update) o
    where d.id = o.id;
    -- what could still be sent after the last commit that survived, and every dead letter whose month is not closed
    insert into postmeter.doubt (delivery_id, break_id, status)
    select d.id, noted, d.status
    from postmeter.delivery d
    where d.status in ('rejected', 'expired', 'conflict', 'written_off', 'released') and not d.shadow
        and not d.maybe_billed and d.body is not null
      and (d.deadline > last_at
           or d.id in (select s.delivery_id from postmeter.stuck s)
              and not exists (select from postmeter.cut k join postmeter.meter m on m.id = k.meter_id
                              join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
                              where k.delivery_id = d.id))
    order by d.id
    on conflict do nothing;
    -- nothing moves by itself: what is stuck here may have been moved already in that time
    update postmeter.stuck s set again_at = null where s.again_at is not null;
    for t in select d.name from postmeter.destination d where not d.paused order by d.id loop
        perform postmeter.set_paused(t, true, who, why);
    end loop;
    return true;
end
$$;
comment on function postmeter.timeline_went_back(text, text) is
    'Says that commits were lost: pauses every destination, each with a decision, counts what may have been sent '
    'as possibly attempted, and notes a doubt about what was settled and may have been reopened. Workers call it; '
    'after a restore declare_installation does. False: this break is known already.';

-- services record again what was lost: it may have been late in the lost time, and billed with another hour
create function postmeter.recorded_before_loss(usages uuid[], destinations integer[]) returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with broken as materialized (select postmeter.broken_at() as at)
    select u.id
    from unnest(usages, destinations) g(id, destination_id)
    join postmeter.destination t on t.id = g.destination_id and t.shadow_of is null
    join postmeter.usage u on u.id = g.id
    where (select b.at from broken b) is not null
      -- a correction goes where its usage stands
      and (u.recorded_at <= (select b.at from broken b)
           or u.corrects is null and postmeter.hour_of(u.used_at) + interval '1 hour' <= (select b.at from broken b))
      and not exists (select from postmeter.asked_usage a where a.usage_id = g.id
          and a.asked_at >= (select b.at from broken b))
$$;
comment on function postmeter.recorded_before_loss(uuid[], integer[]) is
    'Which of these usages, too late for their own hours, were recorded before commits were lost, or are of an '
    'hour that was over by then and may have been recorded in the time that was lost: they may have been billed '
    'with another hour in that time, and nobody has said yet that they were not. Without a loss it reads nothing '
    'else.';

create function postmeter.withhold(m postmeter.meter, quantity numeric, break_id bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    now  timestamptz := postmeter.clock();
    made bigint;
    last record;
    n    bigint := (select count(*) + 1 from postmeter.withheld w where w.meter_id = m.id);
    -- no hour of anybody: its time lies inside one
    at   timestamptz := postmeter.hour_of(now) + n * interval '1 second';
begin
    select d.identity, d.product into last
    from postmeter.hours_of_meter(m.id) h join postmeter.delivery d on d.id = h.delivery_id
    order by h.hour desc limit 1;
    insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, deadline, status, reason,
        maybe_billed, maybe_since,
                                    round, quantity, body, batch_group, idempotency_key, cut_at)
    values (m.destination_id, format('%s/%s/withheld/%s/%s', m.buyer, m.dimension, m.id, n), m.id, at,
        coalesce(last.identity, '{}'), coalesce(last.product, ''),
            postmeter.deadline_of(m.destination_id, m.buyer, postmeter.hour_of(now)), 'held', 'lost_time', true, now,
            1, quantity, '', '', '00000000-0000-0000-0000-000000000000', now)
    returning id into made;
    insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried,
        deferred, metrics)
    values (made, m.id, 0, m.denominator, trim_scale(m.carried + m.billed * m.denominator), m.billed, quantity,
            trim_scale(m.carried - quantity * m.denominator), false, '[]');
    update postmeter.meter u
    set billed = trim_scale(u.billed + quantity), carried = trim_scale(u.carried - quantity * u.denominator),
        billable = trim_scale(greatest(0, u.billable - quantity))
    where u.id = m.id;
    insert into postmeter.withheld (delivery_id, meter_id, break_id) values (made, m.id, break_id);
    -- it was not held by an update
    insert into postmeter.stuck (delivery_id, destination_id, status, since) values (made, m.destination_id, 'held',
        now);
    return made;
end
$$;
comment on function postmeter.withhold(postmeter.meter, numeric, bigint) is
    'Takes a quantity of a locked meter out of what is to be billed, as a held remittance that may have been '
    'billed. Returns that remittance.';

create function postmeter.withhold_all(break_id bigint) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    now    timestamptz := postmeter.clock();
    m      postmeter.meter;
    owing  numeric;
    made   integer := 0;
    chosen bigint[];
begin
    perform postmeter.month_gate();
    select array_agg(x.id order by x.id) into chosen
    from postmeter.meter x
    join postmeter.destination t on t.id = x.destination_id and t.shadow_of is null
    where (x.billable > 0 or x.month_end = 'round_up' and x.carried > 0
                             and x.month >= postmeter.month_of(now - t.age_limit - interval '1 day', t.zone)
                             and postmeter.meter_ends(t.id, x.buyer,
                                 (x.month + interval '1 month')::timestamp at time zone t.zone) <= now)
      and not exists (select from postmeter.closed_month c where c.destination_id = x.destination_id
          and c.month = x.month);
    perform postmeter.lock_meters(chosen);
    for m in select x.* from postmeter.meter x where x.id = any (chosen) order by x.id loop
        owing := m.billable;
        if m.month_end = 'round_up' and m.carried > 0 and postmeter.remainder_is_elsewhere(m) then
            owing := greatest(owing, postmeter.round_units(m.carried + m.billed * m.denominator, m.denominator, 'up',
                m.decimals) - m.billed);
        end if;
        if owing > 0 then
            perform postmeter.withhold(m, owing, break_id);
            made := made + 1;
        end if;
    end loop;
    return made;
end
$$;
comment on function postmeter.withhold_all(bigint) is
    'Withholds what meters had to bill when commits were lost and would send with any hour: a part of '
    'timeline_went_back. Returns how many.';

create function postmeter.remainder_is_elsewhere(m postmeter.meter) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- its last hour was sent, so that the month's end takes another one
    select exists (
        select from postmeter.destination t
        cross
            join lateral (select postmeter.meter_ends(t.id, (m).buyer,
            ((m).month + interval '1 month')::timestamp at time zone t.zone) as at) e
        cross join lateral (select postmeter.hour_of(e.at - interval '1 microsecond') as hour) l
        join postmeter.meter k on k.destination_id = t.id and k.dimension = (m).dimension and k.month = (m).month
         and k.buyer = coalesce(postmeter.key_of_hour((m).id, l.hour), (m).buyer)
        join postmeter.delivery d on d.meter_id = k.id and d.hour = l.hour and d.status not in ('open', 'nothing_due')
        where t.id = (m).destination_id and e.at <= postmeter.clock())
$$;
comment on function postmeter.remainder_is_elsewhere(postmeter.meter) is
    'A meter has ended, and its last hour was sent: what remains goes with another hour.';

create function postmeter.give_back(d postmeter.delivery, who text, why text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    part   record;
    target bigint;
    other  bigint;
begin
    select o.id into other
    from postmeter.withheld w
    join postmeter.timeline_break b on b.id = w.break_id
    join postmeter.hours_of_meter(w.meter_id) h on h.delivery_id <> d.id
    join postmeter.delivery o on o.id = h.delivery_id and o.hour + interval '1 hour' <= b.noticed_at
    where w.delivery_id = d.id
      and (o.status in ('open', 'due', 'in_flight', 'unknown') or o.status = 'held' and o.maybe_billed
           or o.status = 'conflict' and coalesce(o.shown_quantity > o.quantity, true))
      and not exists (select from postmeter.withheld x where x.delivery_id = o.id)
    order by o.hour limit 1;
    if other is not null then
        raise exception 'remittance % may hold what remittance % stands for', other, d.id
            using errcode = 'PM034', column = 'delivery', constraint = 'withheld_elsewhere',
                  hint = format('Settle %s first: it is of the same meter and of the time that was lost.', other);
    end if;
    if not exists (select from postmeter.meter m join postmeter.destination t on t.id = m.destination_id
                   where m.id in (select c.meter_id from postmeter.cut c where c.delivery_id = d.id)
                     and (t.late_policy = 'part' or postmeter.target_hour(m.id) is not null)
                     and not exists (select from postmeter.closed_month x where x.destination_id = t.id
                         and x.month = m.month)) then
        -- no hour can take it now: it stays, and may be written off
        update postmeter.delivery u set maybe_billed = false, maybe_since = null, changed_at = postmeter.clock()
            where u.id = d.id;
        insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
        values (who, why, 'resolve', d.id, d.status, d.status, d.quantity,
            jsonb_build_object('billed', false, 'withheld', true));
        return d.status;
    end if;
    update postmeter.delivery u
    set status = 'released', reason = null, maybe_billed = false, maybe_since = null, releases = u.releases + 1,
        changed_at = postmeter.clock()
    where u.id = d.id;
    for part in select c.meter_id, sum(c.to_bill) as to_bill from postmeter.cut c where c.delivery_id = d.id group by 1
        order by 1 loop
        update postmeter.meter m
        set billed = trim_scale(m.billed - part.to_bill),
            carried = trim_scale(m.carried + part.to_bill * m.denominator),
            billable = trim_scale(m.billable + part.to_bill)
        where m.id = part.meter_id;
        target := postmeter.open_target(part.meter_id, d.identity, d.product);
    end loop;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity,
        target_delivery_id, detail)
    values (who, why, 'resolve', d.id, d.status, 'released', d.quantity, target,
        jsonb_build_object('billed', false, 'withheld', true));
    return 'released';
end
$$;
comment on function postmeter.give_back(postmeter.delivery, text, text) is
    'A person says that what was withheld was not billed in the time that was lost: it goes back to its meter, and '
    'with the next hour; if no hour can take it, it stays held, and may be written off. Refused while an hour of '
    'the same meter and time is not settled, for that may hold it. Its meter and the remittance are locked.';

create function postmeter.recut(delivery bigint, meter bigint, units numeric) returns postmeter.meter
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    m postmeter.meter;
begin
    select x.* into strict m from postmeter.meter x where x.id = recut.meter;
    insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried,
        deferred, metrics)
    values (recut.delivery, m.id,
            (select least(min(c.round), 0) - 1 from postmeter.cut c where c.delivery_id = recut.delivery
                and c.meter_id = m.id), m.denominator,
            trim_scale(m.carried + m.billed * m.denominator), m.billed, recut.units,
                trim_scale(m.carried - recut.units * m.denominator), false, '[]');
    update postmeter.meter u
    set billed = trim_scale(u.billed + recut.units), carried = trim_scale(u.carried - recut.units * u.denominator),
        billable = trim_scale(greatest(0, u.billable - recut.units))
    where u.id = m.id returning * into m;
    return m;
end
$$;
comment on function postmeter.recut(bigint, bigint, numeric) is
    'Bills so many units more (below zero: less) of a locked meter by a locked remittance than its cut did, as a '
    'cut of a round below zero. Returns the meter as it is then.';

create function postmeter.take_from_withheld(
    meter bigint, quantity numeric, with_delivery bigint, who text, why text
) returns numeric
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    w     postmeter.delivery;
    take  numeric;
    total numeric := 0;
begin
    for w in select d.* from postmeter.withheld x join postmeter.delivery d on d.id = x.delivery_id
             where x.meter_id = take_from_withheld.meter and d.status in ('held', 'accepted') and d.quantity > 0
                 order by d.id for update of d loop
        exit when total >= take_from_withheld.quantity;
        take := least(w.quantity, take_from_withheld.quantity - total);
        perform postmeter.recut(w.id, take_from_withheld.meter, -take);
        update postmeter.delivery u
        set quantity = trim_scale(u.quantity - take), changed_at = postmeter.clock(),
            status = case when u.quantity = take then 'released' else u.status end,
            reason = case when u.quantity > take then u.reason end,
            maybe_billed = u.maybe_billed and u.quantity > take, maybe_since = case when u.quantity > take
                then u.maybe_since end
        where u.id = w.id;
        insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity,
            target_delivery_id, detail)
        select who, why, 'resolve', w.id, w.status, u.status, take, with_delivery,
            jsonb_build_object('billed', true, 'withheld', true)
        from postmeter.delivery u where u.id = w.id;
        total := total + take;
    end loop;
    return total;
end
$$;
comment on function postmeter.take_from_withheld(bigint, numeric, bigint, text, text) is
    'They hold more of another remittance of a locked meter than we cut: that is what was withheld, so it counts '
    'there and no longer here. Returns how much.';

create function postmeter.keep_unconfirmed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if new.status = 'accepted' and new.confirmed is false then
        insert into postmeter.unconfirmed (delivery_id)
        select new.id where new.hour + interval '1 hour' <= postmeter.broken_at()
        on conflict do nothing;
    else
        delete from postmeter.unconfirmed u where u.delivery_id = new.id;
    end if;
    return null;
end
$$;
comment on function postmeter.keep_unconfirmed() is
    'Trigger of delivery: keeps postmeter.unconfirmed. What a person calls billed is no duplicate.';
-- late evidence settles what is unknown or held, too; a person who does so has looked it up, and reads no evidence
create trigger unconfirmed after update on postmeter.delivery
    for each row
    when ((old.status <> 'accepted' and new.status = 'accepted' and new.confirmed is false
        and ((old.status in ('due', 'in_flight')) or new.evidence_read > old.evidence_read))
        or (old.status = 'accepted' and old.confirmed is false
        and (new.status <> 'accepted' or new.confirmed is distinct from false)))
    execute function postmeter.keep_unconfirmed();
