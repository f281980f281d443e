-- 0051_pre_lost_time: what was recorded before commits were lost and would go to another hour waits for a person; of a conflict counts what they hold.
-- programs: from 0022
-- lock: access exclusive on delivery, for a moment: a reason more, which old rows need not meet, and a trigger
-- lock: access exclusive on held, for a moment: a reason more, which old rows need not meet
-- lock: access exclusive on dead_letter, for a moment: a view that shows more

-- what earlier migrations wrote is mended where it stands: each of them keeps whatever else it has learnt
create function postmeter.mend(what text, before text, after text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    f       record;
    changed text;
    mended  integer := 0;
begin
    for f in select p.oid, pg_get_functiondef(p.oid) as was from pg_proc p
             where p.pronamespace = 'postmeter'::regnamespace and (p.proname = what or what = '*') and p.prokind = 'f' and p.proname <> 'mend'
               and p.prosrc like '%' || replace(replace(replace(before, '\', '\\'), '%', '\%'), '_', '\_') || '%' loop
        changed := replace(f.was, before, after);
        if changed <> f.was then
            execute changed;
            mended := mended + 1;
        end if;
    end loop;
    if mended = 0 then
        raise exception '% is not as this migration knows it: %', what, before;
    end if;
end
$$;

-- a reason of its own -------------------------------------------------------------------------------------------------

do $$
declare
    t     text;
    known text[];
begin
    foreach t in array array['held', 'delivery'] loop
        select array_agg(m[1]) into known
        from pg_catalog.pg_constraint c, regexp_matches(pg_catalog.pg_get_constraintdef(c.oid), '''([a-z_]+)''', 'g') m
        where c.conrelid = ('postmeter.' || t)::regclass and c.conname = t || '_reason_check';
        execute format('alter table postmeter.%1$I drop constraint %1$s_reason_check, '
                       'add constraint %1$s_reason_check check (reason in (%2$s)) not valid',
                       t, (select string_agg(quote_literal(v), ', ') from unnest(known || '{lost_time}'::text[]) v));
    end loop;
end
$$;
select postmeter.mend('*', '''poison'', ''by_operator''', '''poison'', ''by_operator'', ''lost_time''');
comment on column postmeter.held.reason is 'Stable code: no_subscription, ambiguous_subscription, unmapped_dimension, invalid_subscription, too_late, month_closed, poison, by_operator, implausible, lost_time (recorded before commits were lost, and may have been billed with another hour in that time).';

-- usage that comes too late for its hour --------------------------------------------------------------------------------

create table postmeter.asked_usage (
    usage_id uuid        not null primary key,
    asked_at timestamptz not null default postmeter.clock()
);
comment on table postmeter.asked_usage is 'Usage that was held for lost_time and that a person has sent back: it was not billed with another hour in the time that was lost, and goes on as late usage.';
comment on column postmeter.asked_usage.usage_id is 'The usage.';
comment on column postmeter.asked_usage.asked_at is 'When, on postmeter.clock(): what is lost after that is asked about again.';

create function postmeter.broken_at() returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select max(b.noticed_at) from postmeter.timeline_break b $$;
comment on function postmeter.broken_at() is 'When it was noticed last that commits were lost; null: never.';

create function postmeter.recorded_before_loss(usages uuid[], destinations integer[]) returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with broken as materialized (select postmeter.broken_at() as at)
    select u.id
    from unnest(usages, destinations) g(id, destination_id)
    join postmeter.destination t on t.id = g.destination_id and t.shadow_of is null
    join postmeter.usage u on u.id = g.id
    where (select b.at from broken b) is not null and u.recorded_at <= (select b.at from broken b)
      and not exists (select from postmeter.asked_usage a where a.usage_id = g.id and a.asked_at >= (select b.at from broken b))
$$;
comment on function postmeter.recorded_before_loss(uuid[], integer[]) is
    'Which of these usages, too late for their own hours, were recorded before commits were lost: they may have been billed with another hour in that time, and nobody has said yet that they were not. Without a loss it reads nothing else.';

select postmeter.mend('retry_held', '        perform postmeter.return_held(chosen);', '        insert into postmeter.asked_usage (usage_id)
        select h.usage_id from postmeter.held h where h.usage_id = any (chosen) and h.reason = ''lost_time'' order by 1
        on conflict on constraint asked_usage_pkey do update set asked_at = excluded.asked_at;
        perform postmeter.return_held(chosen);');

-- what a meter had to bill ------------------------------------------------------------------------------------------

create table postmeter.withheld (
    delivery_id bigint not null primary key,
    meter_id    bigint not null,
    break_id    bigint not null
);
create index withheld_by_meter on postmeter.withheld (meter_id);
comment on table postmeter.withheld is 'Held remittances that stand for no hour: what a meter still had to bill when commits were lost (released or deferred quantity, a remainder whose own hour was sent). It may have been billed with another hour in that time, so it waits until a person says so or not.';
comment on column postmeter.withheld.delivery_id is 'The remittance.';
comment on column postmeter.withheld.meter_id is 'The meter that had it to bill.';
comment on column postmeter.withheld.break_id is 'The break.';

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
    insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, deadline, status, reason, maybe_billed, maybe_since,
                                    round, quantity, body, batch_group, idempotency_key, cut_at)
    values (m.destination_id, format('%s/%s/withheld/%s/%s', m.buyer, m.dimension, m.id, n), m.id, at, coalesce(last.identity, '{}'), coalesce(last.product, ''),
            postmeter.deadline_of(m.destination_id, m.buyer, postmeter.hour_of(now)), 'held', 'lost_time', true, now,
            1, quantity, '', '', '00000000-0000-0000-0000-000000000000', now)
    returning id into made;
    insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics)
    values (made, m.id, 0, m.denominator, trim_scale(m.carried + m.billed * m.denominator), m.billed, quantity,
            trim_scale(m.carried - quantity * m.denominator), false, '[]');
    update postmeter.meter u
    set billed = trim_scale(u.billed + quantity), carried = trim_scale(u.carried - quantity * u.denominator),
        billable = trim_scale(greatest(0, u.billable - quantity))
    where u.id = m.id;
    insert into postmeter.withheld (delivery_id, meter_id, break_id) values (made, m.id, break_id);
    -- it was not held by an update
    insert into postmeter.stuck (delivery_id, destination_id, status, since) values (made, m.destination_id, 'held', now);
    return made;
end
$$;
comment on function postmeter.withhold(postmeter.meter, numeric, bigint) is
    'Takes a quantity of a locked meter out of what is to be billed, as a held remittance that may have been billed. Returns that remittance.';

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
                             and postmeter.meter_ends(t.id, x.buyer, (x.month + interval '1 month')::timestamp at time zone t.zone) <= now)
      and not exists (select from postmeter.closed_month c where c.destination_id = x.destination_id and c.month = x.month);
    perform postmeter.lock_meters(chosen);
    for m in select x.* from postmeter.meter x where x.id = any (chosen) order by x.id loop
        owing := m.billable;
        if m.month_end = 'round_up' and m.carried > 0 and postmeter.remainder_is_elsewhere(m) then
            owing := greatest(owing, postmeter.round_units(m.carried + m.billed * m.denominator, m.denominator, 'up', m.decimals) - m.billed);
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
    'Withholds what meters had to bill when commits were lost and would send with any hour: a part of timeline_went_back. Returns how many.';

create function postmeter.remainder_is_elsewhere(m postmeter.meter) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- its last hour was sent, so that the month's end takes another one
    select exists (
        select from postmeter.destination t
        cross join lateral (select postmeter.meter_ends(t.id, (m).buyer, ((m).month + interval '1 month')::timestamp at time zone t.zone) as at) e
        cross join lateral (select postmeter.hour_of(e.at - interval '1 microsecond') as hour) l
        join postmeter.meter k on k.destination_id = t.id and k.dimension = (m).dimension and k.month = (m).month
         and k.buyer = coalesce(postmeter.key_of_hour((m).id, l.hour), (m).buyer)
        join postmeter.delivery d on d.meter_id = k.id and d.hour = l.hour and d.status not in ('open', 'nothing_due')
        where t.id = (m).destination_id and e.at <= postmeter.clock())
$$;
comment on function postmeter.remainder_is_elsewhere(postmeter.meter) is
    'A meter has ended, and its last hour was sent: what remains goes with another hour.';

-- what they recognise by our own number for a time only may have gone out under another number in that time: it is asked about
select postmeter.mend('timeline_went_back', '    -- what may have been sent in the time that was lost: only', '    perform postmeter.withhold_all(noted);
    -- what may have been sent in the time that was lost: only');
select postmeter.mend('timeline_went_back', 'set maybe_billed = true, maybe_since = d.hour + interval ''1 hour''',
    'set maybe_billed = true,
        maybe_since = d.hour + interval ''1 hour'' - coalesce((select t.memory from postmeter.destination t where t.id = d.destination_id), interval ''0'')');

-- what a person says ----------------------------------------------------------------------------------------------------

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
                     and not exists (select from postmeter.closed_month x where x.destination_id = t.id and x.month = m.month)) then
        -- no hour can take it now: it stays, and may be written off
        update postmeter.delivery u set maybe_billed = false, maybe_since = null, changed_at = postmeter.clock() where u.id = d.id;
        insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
        values (who, why, 'resolve', d.id, d.status, d.status, d.quantity, jsonb_build_object('billed', false, 'withheld', true));
        return d.status;
    end if;
    update postmeter.delivery u
    set status = 'released', reason = null, maybe_billed = false, maybe_since = null, releases = u.releases + 1, changed_at = postmeter.clock()
    where u.id = d.id;
    for part in select c.meter_id, sum(c.to_bill) as to_bill from postmeter.cut c where c.delivery_id = d.id group by 1 order by 1 loop
        update postmeter.meter m
        set billed = trim_scale(m.billed - part.to_bill), carried = trim_scale(m.carried + part.to_bill * m.denominator),
            billable = trim_scale(m.billable + part.to_bill)
        where m.id = part.meter_id;
        target := postmeter.open_target(part.meter_id, d.identity, d.product);
    end loop;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, target_delivery_id, detail)
    values (who, why, 'resolve', d.id, d.status, 'released', d.quantity, target, jsonb_build_object('billed', false, 'withheld', true));
    return 'released';
end
$$;
comment on function postmeter.give_back(postmeter.delivery, text, text) is
    'A person says that what was withheld was not billed in the time that was lost: it goes back to its meter, and with the next hour; if no hour can take it, it stays held, and may be written off. Refused while an hour of the same meter and time is not settled, for that may hold it. Its meter and the remittance are locked.';

create function postmeter.recut(delivery bigint, meter bigint, units numeric) returns postmeter.meter
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    m postmeter.meter;
begin
    select x.* into strict m from postmeter.meter x where x.id = recut.meter;
    insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics)
    values (recut.delivery, m.id,
            (select least(min(c.round), 0) - 1 from postmeter.cut c where c.delivery_id = recut.delivery and c.meter_id = m.id), m.denominator,
            trim_scale(m.carried + m.billed * m.denominator), m.billed, recut.units, trim_scale(m.carried - recut.units * m.denominator), false, '[]');
    update postmeter.meter u
    set billed = trim_scale(u.billed + recut.units), carried = trim_scale(u.carried - recut.units * u.denominator),
        billable = trim_scale(greatest(0, u.billable - recut.units))
    where u.id = m.id returning * into m;
    return m;
end
$$;
comment on function postmeter.recut(bigint, bigint, numeric) is
    'Bills so many units more (below zero: less) of a locked meter by a locked remittance than its cut did, as a cut of a round below zero. Returns the meter as it is then.';

create function postmeter.take_from_withheld(meter bigint, quantity numeric, with_delivery bigint, who text, why text) returns numeric
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    w     postmeter.delivery;
    take  numeric;
    total numeric := 0;
begin
    for w in select d.* from postmeter.withheld x join postmeter.delivery d on d.id = x.delivery_id
             where x.meter_id = take_from_withheld.meter and d.status in ('held', 'accepted') and d.quantity > 0 order by d.id for update of d loop
        exit when total >= take_from_withheld.quantity;
        take := least(w.quantity, take_from_withheld.quantity - total);
        perform postmeter.recut(w.id, take_from_withheld.meter, -take);
        update postmeter.delivery u
        set quantity = trim_scale(u.quantity - take), changed_at = postmeter.clock(),
            status = case when u.quantity = take then 'released' else u.status end,
            reason = case when u.quantity > take then u.reason end,
            maybe_billed = u.maybe_billed and u.quantity > take, maybe_since = case when u.quantity > take then u.maybe_since end
        where u.id = w.id;
        insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, target_delivery_id, detail)
        select who, why, 'resolve', w.id, w.status, u.status, take, with_delivery, jsonb_build_object('billed', true, 'withheld', true)
        from postmeter.delivery u where u.id = w.id;
        total := total + take;
    end loop;
    return total;
end
$$;
comment on function postmeter.take_from_withheld(bigint, numeric, bigint, text, text) is
    'They hold more of another remittance of a locked meter than we cut: that is what was withheld, so it counts there and no longer here. Returns how much.';

create function postmeter.count_held(d postmeter.delivery, held numeric, who text, why text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    theirs  numeric := coalesce(held, d.shown_quantity);
    rest    numeric;
    delta   numeric;
    part    record;
    m       postmeter.meter;
    broken  bigint;
    first   bigint;
    decided bigint;
begin
    if theirs is null or theirs <= 0 then
        raise exception 'they did not say how much they hold of remittance %', d.id
            using errcode = 'PM037', column = 'quantity', constraint = 'resolve_quantity',
                  hint = format('Look it up there, and say it: postmeter resolve %s --billed --quantity N.', d.id);
    end if;
    rest := theirs - d.quantity;
    if rest <> 0 and exists (select from postmeter.cut k join postmeter.meter x on x.id = k.meter_id
                              join postmeter.closed_month c on c.destination_id = x.destination_id and c.month = x.month where k.delivery_id = d.id) then
        raise exception 'the month of remittance % is closed', d.id
            using errcode = 'PM034', column = 'quantity', constraint = 'resolve_month', hint = 'Reopen the month first, or write it off.';
    end if;
    select max(b.id) into broken from postmeter.timeline_break b where d.hour + interval '1 hour' <= b.noticed_at;
    -- its own meter first, if it counts anything there
    for part in select k.meter_id, sum(k.to_bill) as to_bill from postmeter.cut k where k.delivery_id = d.id
                group by 1 order by sum(k.to_bill) = 0, k.meter_id <> d.meter_id, 1 loop
        first := coalesce(first, part.meter_id);
        delta := case when rest > 0 then postmeter.take_from_withheld(part.meter_id, rest, d.id, who, why) else greatest(rest, -part.to_bill) end;
        continue when delta = 0;
        rest := rest - delta;
        m := postmeter.recut(d.id, part.meter_id, delta);
        -- what they do not hold of it may have been billed with another hour in a time that was lost
        if delta < 0 and broken is not null then
            perform postmeter.withhold(m, -delta, broken);
        end if;
    end loop;
    if rest > 0 then
        perform postmeter.recut(d.id, first, rest);
    end if;
    update postmeter.delivery u
    set status = 'accepted', reason = null, maybe_billed = false, maybe_since = null, deaths = 0, tries = 0, confirmed = true,
        shown_quantity = theirs, changed_at = postmeter.clock()
    where u.id = d.id;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
    values (who, why, 'resolve', d.id, d.status, 'accepted', theirs,
            jsonb_build_object('billed', true, 'theirs', theirs::text, 'ours', trim_scale(d.quantity)::text)) returning id into decided;
    update postmeter.doubt x set decision_id = decided
    where x.delivery_id = d.id and x.decision_id is null;
    return 'accepted';
end
$$;
comment on function postmeter.count_held(postmeter.delivery, numeric, text, text) is
    'Counts a locked remittance as they hold it, its meters locked too: what they do not hold of it goes back to its meter, as a release gives it back (withheld, if its hour lies before a loss of commits); what they hold beyond it is what was withheld, else credit.';

create function postmeter.lock_to_resolve(delivery bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- meters first, then the remittance: the same order as the cut. Only what moves quantity needs them
    if exists (select from postmeter.delivery d where d.id = lock_to_resolve.delivery and (d.status = 'conflict' or d.reason = 'lost_time')) then
        perform postmeter.month_gate();
        perform postmeter.lock_meters(array(select k.meter_id from postmeter.cut k where k.delivery_id = lock_to_resolve.delivery));
    end if;
end
$$;
comment on function postmeter.lock_to_resolve(bigint) is 'Locks the meters of a remittance whose resolution moves quantity.';

create function postmeter.meters_are_free(delivery bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    wanted bigint[] := array(select distinct k.meter_id from postmeter.cut k join postmeter.delivery d on d.id = k.delivery_id
                             where d.id = meters_are_free.delivery and (d.status = 'conflict' or d.reason = 'lost_time'));
begin
    if wanted = '{}' then
        return true;
    end if;
    return (select count(*) from (select m.id from postmeter.meter m where m.id = any (wanted) order by m.id for no key update skip locked) l)
           = cardinality(wanted);
end
$$;
comment on function postmeter.meters_are_free(bigint) is
    'Takes the meters of a remittance whose resolution moves quantity, if nobody works on them.';

create function postmeter.resolve_quantity(delivery bigint, quantity numeric, who text, why text, out status text, out changed boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    d postmeter.delivery;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.month_gate();
    perform postmeter.lock_meters(array(select k.meter_id from postmeter.cut k where k.delivery_id = resolve_quantity.delivery));
    select f.* into d from postmeter.delivery f where f.id = resolve_quantity.delivery for update;
    if not found then
        raise exception 'there is no remittance %', delivery using errcode = 'PM033', column = 'delivery', constraint = 'delivery_exists';
    end if;
    if quantity > 0 and quantity <> d.quantity and (d.status = 'conflict' or d.maybe_billed and d.status in ('unknown', 'held'))
       and not exists (select from postmeter.withheld w where w.delivery_id = d.id)
       or quantity > 0 and d.status = 'conflict' then
        if d.status = 'conflict' and d.shown_quantity <> resolve_quantity.quantity then
            raise exception 'they said that they hold % of remittance %, and this says %', trim_scale(d.shown_quantity), d.id, quantity
                using errcode = 'PM037', column = 'quantity', constraint = 'resolve_quantity',
                      hint = 'Leave the quantity out to count what they said; what their report says otherwise is noted by resolve --file.';
        end if;
        status := postmeter.count_held(d, quantity, who, why);
        changed := true;
        return;
    elsif quantity > 0 and quantity <> coalesce(d.shown_quantity, d.quantity) then
        raise exception 'remittance % is % of %, and this says %', d.id, d.status, trim_scale(coalesce(d.shown_quantity, d.quantity)), quantity
            using errcode = 'PM034', column = 'quantity', constraint = 'resolve_quantity',
                  hint = 'Only a conflict, or what may have been billed, is counted with another quantity than ours.';
    end if;
    select r.status, r.changed into status, changed from postmeter.resolve_unknown(delivery, quantity > 0, who, why) r;
end
$$;
comment on function postmeter.resolve_quantity(bigint, numeric, text, text) is
    'A person says how much they hold of a remittance (0: nothing): a conflict, or what may have been billed, counts as that. As resolve_unknown where it is our very quantity.';

select postmeter.mend('resolve_unknown', '    select f.* into d from postmeter.delivery f', '    perform postmeter.lock_to_resolve(resolve_unknown.delivery);
    select f.* into d from postmeter.delivery f');
select postmeter.mend('resolve_unknown', '    if not d.maybe_billed and exists', '    if not d.maybe_billed and not (d.status = ''conflict'' and billed) and exists');
select postmeter.mend('held_verdict', '    if not d.maybe_billed and (coalesce(held, 0)', '    if not d.maybe_billed and not (d.status = ''conflict'' and billed) and (coalesce(held, 0)');
select postmeter.mend('resolve_unknown', '    if d.status = ''conflict'' and billed then
        after := ''accepted'';
    elsif', '    if d.status = ''conflict'' and billed then
        status := postmeter.count_held(d, null, who, why);
        return;
    elsif d.reason = ''lost_time'' and not billed then
        status := postmeter.give_back(d, who, why);
        return;
    elsif');
-- a duplicate that did not say how much they hold is confirmed by whoever has looked it up
select postmeter.mend('resolve_unknown', '        raise exception ''remittance % is % and has nothing to resolve''', '        if billed and d.status = ''accepted'' and d.confirmed is false then
            update postmeter.delivery u set confirmed = true, changed_at = now where u.id = d.id;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, ''resolve'', d.id, d.status, d.status, d.quantity, jsonb_build_object(''billed'', true));
            status := d.status;
            return;
        end if;
        raise exception ''remittance % is % and has nothing to resolve''');
comment on function postmeter.resolve_unknown(bigint, boolean, text, text) is
    'A person says whether an unknown remittance was billed: billed, it is accepted (quantity not confirmed); not billed, it is sent again while its deadline allows, else it is expired. A conflict that is billed counts as they hold it, if they have said how much. What was withheld and not billed goes back to its meter. Returns the status; changed is false if the same was said before.';

select postmeter.mend('resolve_rows', 'from postmeter.delivery f where f.id = delivery_id for update skip locked', 'from postmeter.delivery f
            where f.id = delivery_id and postmeter.meters_are_free(f.id) for update skip locked');
select postmeter.mend('resolve_rows', '            perform postmeter.resolve_unknown(r.id, h.billed, who, why);', '            if r.status = ''conflict'' and h.quantity > 0 then
                perform postmeter.resolve_quantity(r.id, h.quantity, who, why);
            else
                perform postmeter.resolve_unknown(r.id, h.billed, who, why);
            end if;
        elsif verdict = ''agrees'' and r.status = ''accepted'' and r.confirmed is false and h.quantity > 0 and not dry_run then
            -- their report says our very quantity of what they called a duplicate
            update postmeter.delivery u set confirmed = true, changed_at = postmeter.clock() where u.id = r.id;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, ''resolve'', r.id, r.status, r.status, r.quantity, jsonb_build_object(''billed'', true, ''confirmed'', true));');
select postmeter.mend('held_verdict', '    if held > 0 and held <> coalesce(case when d.status = ''accepted''', '    if d.reason = ''lost_time'' and billed is false then
        verdict := ''not_billed''; status_after := ''released'';
        return;
    elsif d.status = ''conflict'' and billed and coalesce(held, d.shown_quantity, 0) = 0 then
        verdict := ''nothing_to_resolve'';
        note := ''they did not say how much they hold: say it, as the quantity of this row'';
        return;
    elsif d.status = ''conflict'' and held > 0 and held = coalesce(d.shown_quantity, held) then
        verdict := ''billed''; status_after := ''accepted'';
        note := case when held <> d.quantity then format(''counts as %s, as they hold it'', trim_scale(held)) end;
        return;
    end if;
    if held > 0 and held <> coalesce(case when d.status in (''accepted'', ''conflict'')');

-- retry and release ask first: what was withheld is no record to send
select postmeter.mend('contradicted', 'select coalesce(', 'select coalesce(
        (select ''stands for no hour: it may have been billed with another one in the time that was lost. Resolve it as billed or not billed''
         from postmeter.withheld w where w.delivery_id = contradicted.delivery),');

-- late quantity goes to an hour of after the loss, if there is one
select postmeter.mend('*', 'order by case when back > 0 and l.deadline >=', 'order by h.hour + interval ''1 hour'' <= (select coalesce(postmeter.broken_at(), ''-infinity'')),
             case when back > 0 and l.deadline >=');

-- duplicates that do not say how much they hold ---------------------------------------------------------------------------

create table postmeter.unconfirmed (
    delivery_id bigint      not null primary key,
    noted_at    timestamptz not null default postmeter.clock()
);
comment on table postmeter.unconfirmed is 'Accepted remittances of hours that were over when commits were lost, which they called a duplicate without saying how much they hold: it may be another quantity, sent in that time. Status and balance stand; a report (resolve --file), a person or a day''s sum that agrees ends it.';
comment on column postmeter.unconfirmed.delivery_id is 'The remittance.';
comment on column postmeter.unconfirmed.noted_at is 'When, on postmeter.clock().';

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
comment on function postmeter.keep_unconfirmed() is 'Trigger of delivery: keeps postmeter.unconfirmed. What a person calls billed is no duplicate.';
create trigger unconfirmed after update on postmeter.delivery for each row
    when (old.status in ('due', 'in_flight') and new.status = 'accepted' and new.confirmed is false
          or old.status = 'accepted' and old.confirmed is false and (new.status <> 'accepted' or new.confirmed is distinct from false))
    execute function postmeter.keep_unconfirmed();

create function postmeter.confirm_day(destination text, day date) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    agreed integer;
begin
    update postmeter.delivery d
    set confirmed = true, changed_at = postmeter.clock()
    from postmeter.unconfirmed u
    where d.id = u.delivery_id and d.status = 'accepted' and d.confirmed is false
      and d.hour >= confirm_day.day::timestamp at time zone 'UTC' and d.hour < (confirm_day.day + 1)::timestamp at time zone 'UTC'
      and exists (select from postmeter.meter m
                  join postmeter.destination t on t.id = m.destination_id and t.name = confirm_day.destination
                  join postmeter.reconciled r on r.destination = t.name and r.day = confirm_day.day and r.buyer = m.buyer
                   and r.dimension = m.dimension and r.verdict = 'equal'
                  where m.id = d.meter_id);
    get diagnostics agreed = row_count;
    return agreed;
end
$$;
comment on function postmeter.confirm_day(text, date) is
    'The latest answer about a day agrees with us: its unconfirmed remittances are confirmed. A part of note_day_contradictions. Returns how many.';
select postmeter.mend('note_day_contradictions', '    select r.* into asked from postmeter.reconciliation r join', '    perform postmeter.confirm_day(destination, day);
    select r.* into asked from postmeter.reconciliation r join');

-- judging -----------------------------------------------------------------------------------------------------------------

-- who has judged has seen what they hold; what is open again may be cut and sent then
select postmeter.mend('judge', '    update postmeter.contradiction x set decision_id = decided where x.id = c.id;', '    update postmeter.contradiction x set decision_id = decided where x.id = c.id;
    update postmeter.delivery u
    set confirmed = case when u.status = ''accepted'' then true else u.confirmed end,
        evidence_read = case when u.status = ''open'' then greatest(u.evidence_read, coalesce(c.evidence_id, 0)) else u.evidence_read end
    where u.id = c.delivery_id and (u.status = ''accepted'' and u.confirmed is false or u.status = ''open'' and u.evidence_read < c.evidence_id);');
-- what corrections had taken from a written-off remittance counts for it again, if it is counted after all
select postmeter.mend('judge', '        update postmeter.delivery u
        set status = after, reason = null, changed_at = now, maybe_billed = false, maybe_since = null,', '        if d.status = ''written_off'' and after <> ''rejected'' then
            perform postmeter.undo_write_off_corrected(d.id);
        end if;
        update postmeter.delivery u
        set status = after, reason = null, changed_at = now, maybe_billed = false, maybe_since = null,');

create function postmeter.undo_write_off_corrected(delivery bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    part record;
begin
    -- its meters are locked, and so is the delivery
    for part in select c.meter_id, sum(c.to_bill) as to_bill
                from postmeter.cut c where c.delivery_id = undo_write_off_corrected.delivery and c.round < 0 group by 1 having sum(c.to_bill) <> 0 order by 1 loop
        perform postmeter.recut(undo_write_off_corrected.delivery, part.meter_id, -part.to_bill);
    end loop;
end
$$;
comment on function postmeter.undo_write_off_corrected(bigint) is
    'What is counted after all is counted whole: adds again what write_off_corrected took back.';
comment on column postmeter.cut.round is 'Of the remittance''s cuts, from 0; below zero: no cut. What was written off less what corrections had taken from it, or what they hold less what was cut.';
comment on column postmeter.cut.to_bill is 'Billing units that this cut adds: max(0, R(units / D) - billed before). In rounds below zero: corrected before it was written off, or held otherwise than it was cut.';

-- for people ---------------------------------------------------------------------------------------------------------

do $$
declare
    was text := rtrim(pg_catalog.pg_get_viewdef('postmeter.dead_letter'::regclass), '; ');
    now text;
begin
    now := replace(was, 'ARRAY[''too_late''::text, ''poison''::text', 'ARRAY[''too_late''::text, ''lost_time''::text, ''poison''::text');
    now := replace(now, 'WHEN ''poison''::text THEN ''report it, then retry''::text',
                   'WHEN ''poison''::text THEN ''report it, then retry''::text
                            WHEN ''lost_time''::text THEN ''see whether they hold it with another hour of that time: write off if so, else retry''::text');
    now := regexp_replace(now, 'CASE\s+WHEN r.maybe_billed THEN', 'CASE
                            WHEN ((r.reason = ''lost_time''::text) AND NOT r.maybe_billed) THEN ''no hour of its month can take it any more: write it off''::text
                            WHEN (r.reason = ''lost_time''::text) THEN ''see whether they hold it with another hour of that time, then resolve as billed or not billed''::text
                            WHEN r.maybe_billed THEN');
    if now = was or now not like '%that time: write off%' or now not like '%then resolve as billed or not%' or now not like '%''lost_time''::text, ''poison''%' then
        raise exception 'dead_letter is not as this migration knows it';
    end if;
    execute 'create or replace view postmeter.dead_letter as ' || now;
end
$$;
comment on view postmeter.dead_letter is 'What needs a person, the dearest first: rejected, expired, conflict, unknown and held remittances; usage that is held beyond its policy (its deadline has passed, or a day without a destination, or too late, poison, or recorded before commits were lost); quantity of a meter that no hour of its month can take any more; what a step has set aside because it fails; and open contradictions. What is unpriced ranks by quantity after what has an amount; amounts are never added over currencies. Without shadows.';
comment on column postmeter.dead_letter.class is 'rejected, expired, conflict, unknown, held, held usage, stranded, set aside or contradiction.';
comment on column postmeter.dead_letter.code is 'The reason, the code of the last answer, the SQLSTATE with which a step failed, or what a contradiction says.';

select postmeter.mend('close_report', 'when v.class = ''held_usage'' and v.reason = ''too_late'' then ''write it off''',
    'when v.class = ''held_usage'' and v.reason = ''too_late'' then ''write it off''
               when v.class = ''held_usage'' and v.reason = ''lost_time'' then ''see whether they hold it with another hour: write it off if so, else retry it before closing''
               when v.class = ''held'' and v.reason = ''lost_time'' then ''see whether they hold it with another hour, then resolve it as billed or not billed''');

create view postmeter.lost_time as
select t.name as destination, b.noticed_at, t.paused,
       (select max(c.changed_at) from postmeter.catalogue_change c where c.changed_at < b.noticed_at) as catalogue_changed_at,
       (select count(*) from postmeter.open_hour o where o.destination_id = t.id and o.hour + interval '1 hour' <= b.noticed_at) as hours_waiting,
       (select count(*) from postmeter.due q join postmeter.delivery d on d.id = q.delivery_id
        where q.destination_id = t.id and d.maybe_billed and d.hour + interval '1 hour' <= b.noticed_at) as sent_again,
       (select count(*) from postmeter.stuck s join postmeter.delivery d on d.id = s.delivery_id
        where s.destination_id = t.id and d.maybe_billed and d.reason is distinct from 'lost_time') as maybe_billed,
       (select count(*) from postmeter.withheld w join postmeter.delivery d on d.id = w.delivery_id
        where d.destination_id = t.id and d.status = 'held') as withheld,
       (select count(*) from postmeter.doubt x join postmeter.delivery d on d.id = x.delivery_id
        where d.destination_id = t.id and x.decision_id is null) as doubts,
       (select count(*) from postmeter.held h where h.destination_id = t.id and h.reason = 'lost_time') as usage_held,
       (select count(*) from postmeter.unconfirmed u join postmeter.delivery d on d.id = u.delivery_id
        where d.destination_id = t.id) as unconfirmed,
       t.memory is not null as is_forgetful
from postmeter.destination t
cross join (select max(b.noticed_at) as noticed_at from postmeter.timeline_break b having count(*) > 0) b
where t.shadow_of is null;
comment on view postmeter.lost_time is 'What the last loss of commits leaves to people, per destination, in numbers. No row: no commits were ever lost.';
comment on column postmeter.lost_time.destination is 'The destination''s name.';
comment on column postmeter.lost_time.noticed_at is 'When the loss was noticed.';
comment on column postmeter.lost_time.paused is 'It is paused.';
comment on column postmeter.lost_time.catalogue_changed_at is 'The last change of the catalogue that survived: what was changed after that must be entered again before it is resumed.';
comment on column postmeter.lost_time.hours_waiting is 'Open hours that were over then: they are cut, by the catalogue of now, once it is resumed.';
comment on column postmeter.lost_time.sent_again is 'Due remittances that may have been sent: they are sent again, with the same keys, once it is resumed.';
comment on column postmeter.lost_time.maybe_billed is 'Stuck remittances that may have been billed: only a person moves them.';
comment on column postmeter.lost_time.withheld is 'Quantities of meters that may have been billed with another hour: a person says so or not.';
comment on column postmeter.lost_time.doubts is 'Settled remittances that may have been reopened in that time.';
comment on column postmeter.lost_time.usage_held is 'Usages that were too late for their hours and may have been billed with another one.';
comment on column postmeter.lost_time.unconfirmed is 'Accepted remittances of which they said duplicate, and not how much they hold.';
comment on column postmeter.lost_time.is_forgetful is 'They recognise a repeat for a limited time only: what may have been sent is not sent again, but left to a person as unknown.';

-- squawk-ignore ban-drop-function
drop function postmeter.mend(text, text, text);

revoke execute on function postmeter.broken_at(), postmeter.recorded_before_loss(uuid[], integer[]), postmeter.withhold(postmeter.meter, numeric, bigint),
    postmeter.withhold_all(bigint), postmeter.remainder_is_elsewhere(postmeter.meter), postmeter.give_back(postmeter.delivery, text, text),
    postmeter.recut(bigint, bigint, numeric), postmeter.take_from_withheld(bigint, numeric, bigint, text, text), postmeter.count_held(postmeter.delivery, numeric, text, text),
    postmeter.lock_to_resolve(bigint), postmeter.meters_are_free(bigint), postmeter.resolve_quantity(bigint, numeric, text, text),
    postmeter.keep_unconfirmed(), postmeter.confirm_day(text, date), postmeter.undo_write_off_corrected(bigint) from public;
grant select on postmeter.asked_usage, postmeter.withheld, postmeter.unconfirmed, postmeter.lost_time to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.broken_at() to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.recorded_before_loss(uuid[], integer[]) to postmeter_worker;
grant execute on function postmeter.resolve_quantity(bigint, numeric, text, text) to postmeter_operator;

insert into postmeter.migration (version, name) values (51, '0051_pre_lost_time');
