-- A person says what became of an unknown or conflict.

create function postmeter.resolve_unknown(
    delivery bigint, billed boolean, who text, why text, out status text, out changed boolean
) returns record
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    d     postmeter.delivery;
    now   timestamptz := postmeter.clock();
    after text;
    last  boolean;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_not_dropped(array[resolve_unknown.delivery]);
    perform postmeter.lock_to_resolve(resolve_unknown.delivery);
    select f.* into d from postmeter.delivery f where f.id = resolve_unknown.delivery for update;
    if not found then
        raise exception 'there is no remittance %', delivery using errcode = 'PM033', column = 'delivery',
            constraint = 'delivery_exists';
    end if;
    d.deadline := postmeter.deadline_now(d);
    changed := true;
    if not d.maybe_billed and not (d.status = 'conflict' and billed)
        and exists (select from postmeter.doubt x where x.delivery_id = d.id and x.decision_id is null) then
        status := postmeter.resolve_doubt(d, billed, who, why);
        return;
    end if;
    if d.status = 'conflict' and billed then
        status := postmeter.count_held(d, null, who, why);
        return;
    elsif d.reason = 'lost_time' and not billed then
        status := postmeter.give_back(d, who, why);
        return;
    elsif d.maybe_billed and d.status in ('unknown', 'held') then
        after := case when billed then 'accepted' when d.deadline >= now then 'due' else 'expired' end;
    else
        -- said already, and nothing has become unknown since: the same again changes nothing more
        select (c.detail ->> 'billed')::boolean into last from postmeter.decision c
        where c.delivery_id = d.id and c.verb = 'resolve' order by c.id desc limit 1;
        if last = billed then
            status := d.status;
            changed := false;
            return;
        end if;
        if billed and d.status = 'accepted' and d.confirmed is false then
            update postmeter.delivery u set confirmed = true, changed_at = now where u.id = d.id;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'resolve', d.id, d.status, d.status, d.quantity, jsonb_build_object('billed', true));
            status := d.status;
            return;
        end if;
        raise exception 'remittance % is % and has nothing to resolve', delivery, d.status
            using errcode = 'PM034', column = 'delivery', constraint = 'delivery_unresolved',
                  hint = 'Only what may have been billed, or a conflict that they hold as ours, is resolved by hand.';
    end if;
    update postmeter.delivery u
    set status = after, reason = null, maybe_billed = false, maybe_since = null, deaths = 0, tries = 0,
        confirmed = case when after = 'accepted' then false end, deadline = d.deadline, changed_at = now
    where u.id = d.id;
    if after = 'due' then
        insert into postmeter.due (delivery_id, destination_id, deadline) values (d.id, d.destination_id, d.deadline);
    end if;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
    values (who, why, 'resolve', d.id, d.status, after, d.quantity, jsonb_build_object('billed', billed));
    status := after;
end
$$;
comment on function postmeter.resolve_unknown(bigint, boolean, text, text) is
    'A person says whether an unknown remittance was billed: billed, it is accepted (quantity not confirmed); not '
    'billed, it is sent again while its deadline allows, else it is expired. A conflict that is billed counts as '
    'they hold it, if they have said how much. What was withheld and not billed goes back to its meter. Returns '
    'the status; changed is false if the same was said before.';

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
                              join postmeter.closed_month c on c.destination_id = x.destination_id and c.month = x.month
                                  where k.delivery_id = d.id) then
        raise exception 'the month of remittance % is closed', d.id
            using errcode = 'PM034', column = 'quantity', constraint = 'resolve_month',
                hint = 'Reopen the month first.';
    end if;
    select max(b.id) into broken from postmeter.timeline_break b where d.hour + interval '1 hour' <= b.noticed_at;
    -- its own meter first, if it counts anything there
    for part in select k.meter_id, sum(k.to_bill) as to_bill from postmeter.cut k where k.delivery_id = d.id
                group by 1 order by sum(k.to_bill) = 0, k.meter_id <> d.meter_id, 1 loop
        first := coalesce(first, part.meter_id);
        delta := case when rest > 0 then postmeter.take_from_withheld(part.meter_id, rest, d.id, who, why)
            else greatest(rest, -part.to_bill) end;
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
    set status = 'accepted', reason = null, maybe_billed = false, maybe_since = null, deaths = 0, tries = 0,
        confirmed = true,
        shown_quantity = theirs, changed_at = postmeter.clock()
    where u.id = d.id;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
    values (who, why, 'resolve', d.id, d.status, 'accepted', theirs,
            jsonb_build_object('billed', true, 'theirs', theirs::text, 'ours', trim_scale(d.quantity)::text))
                returning id into decided;
    update postmeter.doubt x set decision_id = decided
    where x.delivery_id = d.id and x.decision_id is null;
    return 'accepted';
end
$$;
comment on function postmeter.count_held(postmeter.delivery, numeric, text, text) is
    'Counts a locked remittance as they hold it, its meters locked too: what they do not hold of it goes back to '
    'its meter, as a release gives it back (withheld, if its hour lies before a loss of commits); what they hold '
    'beyond it is what was withheld, else credit.';

create function postmeter.lock_to_resolve(delivery bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- meters first, then the remittance: the same order as the cut. Only what moves quantity needs them
    if exists (select from postmeter.delivery d where d.id = lock_to_resolve.delivery
        and (d.status = 'conflict' or d.reason = 'lost_time')) then
        perform postmeter.month_gate();
        perform postmeter.lock_meters(array(select k.meter_id from postmeter.cut k
            where k.delivery_id = lock_to_resolve.delivery));
    end if;
end
$$;
comment on function postmeter.lock_to_resolve(bigint) is
    'Locks the meters of a remittance whose resolution moves quantity.';

create function postmeter.meters_are_free(delivery bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    wanted bigint[] := array(select distinct k.meter_id from postmeter.cut k
        join postmeter.delivery d on d.id = k.delivery_id
                             where d.id = meters_are_free.delivery
                                 and (d.status = 'conflict' or d.reason = 'lost_time'));
begin
    if wanted = '{}' then
        return true;
    end if;
    return (select count(*) from (select m.id from postmeter.meter m where m.id = any (wanted)
        order by m.id for no key update skip locked) l)
           = cardinality(wanted);
end
$$;
comment on function postmeter.meters_are_free(bigint) is
    'Takes the meters of a remittance whose resolution moves quantity, if nobody works on them.';

create function postmeter.resolve_quantity(
    delivery bigint, quantity numeric, who text, why text, out status text, out changed boolean
) returns record
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    d postmeter.delivery;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.month_gate();
    perform postmeter.check_not_dropped(array[resolve_quantity.delivery]);
    perform postmeter.lock_meters(array(select k.meter_id from postmeter.cut k
        where k.delivery_id = resolve_quantity.delivery));
    select f.* into d from postmeter.delivery f where f.id = resolve_quantity.delivery for update;
    if not found then
        raise exception 'there is no remittance %', delivery using errcode = 'PM033', column = 'delivery',
            constraint = 'delivery_exists';
    end if;
    if quantity > 0 and quantity <> d.quantity
        and (d.status = 'conflict' or d.maybe_billed and d.status in ('unknown', 'held'))
       and not exists (select from postmeter.withheld w where w.delivery_id = d.id)
       or quantity > 0 and d.status = 'conflict' then
        if d.status = 'conflict' and d.shown_quantity <> resolve_quantity.quantity then
            raise exception 'they said that they hold % of remittance %, and this says %', trim_scale(d.shown_quantity),
                d.id, quantity
                using errcode = 'PM037', column = 'quantity', constraint = 'resolve_quantity',
                      hint
                          = 'Leave the quantity out to count what they said; what their report says otherwise is '
                              'noted by resolve --file.';
        end if;
        status := postmeter.count_held(d, quantity, who, why);
        changed := true;
        return;
    elsif quantity > 0 and quantity <> coalesce(d.shown_quantity, d.quantity) then
        raise exception 'remittance % is % of %, and this says %', d.id, d.status,
            trim_scale(coalesce(d.shown_quantity, d.quantity)), quantity
            using errcode = 'PM034', column = 'quantity', constraint = 'resolve_quantity',
                  hint = 'Only a conflict, or what may have been billed, is counted with another quantity than ours.';
    end if;
    select r.status, r.changed into status, changed from postmeter.resolve_unknown(delivery, quantity > 0, who, why) r;
end
$$;
comment on function postmeter.resolve_quantity(bigint, numeric, text, text) is
    'A person says how much they hold of a remittance (0: nothing): a conflict, or what may have been billed, '
    'counts as that. As resolve_unknown where it is our very quantity.';
