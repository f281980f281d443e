-- Retry, release, hold and write off remittances.

create function postmeter.retry(filter jsonb, who text, why text, dry_run boolean default true)
returns table (delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    d   postmeter.delivery;
    now timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    for d in select f.* from postmeter.delivery f where f.id in (select b.id from postmeter.deliveries_by(filter) b)
        order by f.id for update loop
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; quantity := d.quantity; note := null;
        d.deadline := postmeter.deadline_now(d);
        status_after := d.status;
        note := postmeter.contradicted(d.id);
        if note is not null then
            null;
        elsif d.body is null then
            note := 'was never frozen into a record: release it or write it off';
        elsif d.deadline < now then
            note := 'its deadline has passed: release it or write it off';
        elsif d.status = 'conflict' then
            note := 'they hold another quantity under this key: resolve it or write it off';
        elsif d.maybe_billed and exists (select from postmeter.destination t
                                         where t.id = d.destination_id and d.maybe_since + t.memory <= now) then
            note := 'may have been billed, and they no longer recognise the key: look it up there and resolve it';
        else
            status_after := 'due';
            if not exists (select from postmeter.subscription s join postmeter.meter m on m.id = d.meter_id
                           where s.destination_id = d.destination_id and s.buyer = m.buyer
                             and s.valid_from < d.hour + interval '1 hour'
                                 and (s.valid_until is null or d.hour < s.valid_until)) then
                note :=
                    'the catalogue knows its buyer no more, and this sends it under that buyer: recount counts it '
                        'by the catalogue';
            end if;
        end if;
        if status_after = 'due' and not dry_run then
            update postmeter.delivery u
            set status = 'due', reason = null, tries = 0, deaths = 0, batch_limit = 1, deadline = d.deadline,
                changed_at = now
            where u.id = d.id;
            insert into postmeter.due (delivery_id, destination_id, deadline) values (d.id, d.destination_id,
                d.deadline);
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'retry', d.id, d.status, 'due', d.quantity,
                jsonb_strip_nulls(jsonb_build_object('filter', filter - 'within', 'reason', d.reason)));
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.retry(jsonb, text, text, boolean) is
    'Sends dead letters again, with the same bytes and key, while their deadline allows. Dry run unless told '
    'otherwise. Never touches what is accepted.';

create function postmeter.release(filter jsonb, who text, why text, dry_run boolean default true)
returns table (delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    d      postmeter.delivery;
    part   record;
    target bigint;
    now    timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.month_gate();
    -- meters first, then remittances, each in order: the same order as the cut
    perform postmeter.lock_meters(array(
        select c.meter_id from postmeter.cut c
            where c.delivery_id in (select b.id from postmeter.deliveries_by(filter) b)));
    for d in select f.* from postmeter.delivery f where f.id in (select b.id from postmeter.deliveries_by(filter) b)
        order by f.id for update loop
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := d.status; quantity := d.quantity;
            note := null;
        note := postmeter.contradicted(d.id);
        if note is not null then
            null;
        elsif d.maybe_billed then
            note := 'may have been billed: resolve it first';
        elsif d.status = 'conflict' then
            note := 'they hold a quantity under this key: resolve it or write it off';
        elsif postmeter.delivery_counts_others(d.id, filter) then
            note := 'also counts usage outside the filter: name the delivery to release all of it';
        elsif exists (select from postmeter.cut c join postmeter.meter m on m.id = c.meter_id
                      join postmeter.closed_month x on x.destination_id = m.destination_id and x.month = m.month
                      where c.delivery_id = d.id) then
            note := 'its month is closed: reopen the month first, or write it off';
        elsif exists (select from postmeter.cut c join postmeter.meter m on m.id = c.meter_id
                      join postmeter.destination t on t.id = m.destination_id
                      where c.delivery_id = d.id and c.to_bill > 0 and postmeter.target_hour(m.id) is null
                          and t.late_policy <> 'part') then
            note := 'no hour of its month can take it any more: ' || case
                when not exists (select from postmeter.subscription s join postmeter.meter m on m.id = d.meter_id
                                 where s.destination_id = d.destination_id and s.buyer = m.buyer
                                   and s.valid_from < d.hour + interval '1 hour'
                                       and (s.valid_until is null or d.hour < s.valid_until))
                then 'the catalogue knows its buyer no more: recount it, or write it off'
                else 'write it off, or set the destination''s late_policy to part' end;
        elsif exists (select from postmeter.cut c join postmeter.meter m on m.id = c.meter_id
                      where c.delivery_id = d.id and c.to_bill > 0 and postmeter.target_hour(m.id) is null
                        and not exists (select from postmeter.part_keys(m.id))) then
            note :=
                'no hour of its month can take it any more, and its buyer has no subscription in whose hour it '
                    'could be a part: '
                || 'recount it if the catalogue was mistaken; else write it off, or renew the subscription first';
        else
            status_after := 'released';
        end if;
        if status_after = 'released' and not dry_run then
            update postmeter.delivery u set status = 'released', reason = null, releases = u.releases + 1,
                changed_at = now,
                body = coalesce(u.body, ''), batch_group = coalesce(u.batch_group, ''),
                idempotency_key = coalesce(u.idempotency_key, '00000000-0000-0000-0000-000000000000')
            where u.id = d.id;
            target := null;
            for part in select c.meter_id, sum(c.to_bill) as to_bill from postmeter.cut c where c.delivery_id = d.id
                group by 1 order by 1 loop
                update postmeter.meter m
                set billed = trim_scale(m.billed - part.to_bill),
                    carried = trim_scale(m.carried + part.to_bill * m.denominator),
                    billable = trim_scale(m.billable + part.to_bill)
                where m.id = part.meter_id;
                if part.to_bill > 0 then
                    target := postmeter.open_target(part.meter_id, d.identity, d.product);
                end if;
            end loop;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity,
                target_delivery_id, detail)
            values (who, why, 'release', d.id, d.status, 'released', d.quantity, target,
                jsonb_strip_nulls(jsonb_build_object('filter', filter - 'within', 'reason', d.reason)));
            note := 'its quantity goes to remittance ' || target;
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.release(jsonb, text, text, boolean) is
    'Gives the quantity of dead letters back to their meters; it is billed with another hour of the month, or by '
    'policy as a part of the running one. Refused while maybe billed, and in a closed month. Dry run unless told '
    'otherwise.';

create function postmeter.write_off(filter jsonb, who text, why text, dry_run boolean default true)
returns table (delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    d   postmeter.delivery;
    now timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    -- meters first, then remittances, each in order: the same order as the cut
    perform postmeter.lock_meters(array(
        select c.meter_id from postmeter.cut c
            where c.delivery_id in (select b.id from postmeter.deliveries_by(filter) b)));
    for d in select f.* from postmeter.delivery f where f.id in (select b.id from postmeter.deliveries_by(filter) b)
        order by f.id for update loop
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := d.status; quantity := d.quantity;
            note := null;
        if d.maybe_billed then
            note := 'may have been billed: resolve it first';
        elsif postmeter.delivery_counts_others(d.id, filter) then
            note := 'also counts usage outside the filter: name the delivery to write all of it off';
        else
            status_after := 'written_off';
        end if;
        if status_after = 'written_off' and not dry_run then
            update postmeter.delivery u set status = 'written_off', reason = null, changed_at = now,
                body = coalesce(u.body, ''), batch_group = coalesce(u.batch_group, ''),
                idempotency_key = coalesce(u.idempotency_key, '00000000-0000-0000-0000-000000000000')
            where u.id = d.id;
            perform postmeter.write_off_corrected(d.id);
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'write_off', d.id, d.status, 'written_off', d.quantity,
                jsonb_strip_nulls(jsonb_build_object('filter', filter - 'within', 'reason', d.reason)));
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.write_off(jsonb, text, text, boolean) is
    'Gives up dead letters: their quantity is shown as written off and is not billed again. Refused while maybe '
    'billed. Dry run unless told otherwise.';

create function postmeter.hold(filter jsonb, who text, why text, dry_run boolean default true)
returns table (delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    d   postmeter.delivery;
    now timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    for d in select f.* from postmeter.delivery f
             where f.id in (select b.id from postmeter.deliveries_by(filter, true) b) order by f.id for update loop
        -- claimed meanwhile: a call is under way, and nobody stops a call
        continue when d.status <> 'due';
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := 'held'; quantity := d.quantity;
        note := case when d.deadline < now + interval '1 hour'
            then 'its deadline is less than an hour away: it goes on while this is held' end;
        if not dry_run then
            delete from postmeter.due q where q.destination_id = d.destination_id and q.delivery_id = d.id;
            delete from postmeter.later l where l.delivery_id = d.id;
            update postmeter.delivery u set status = 'held', reason = 'by_operator', changed_at = now where u.id = d.id;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'hold', d.id, d.status, 'held', d.quantity,
                jsonb_build_object('filter', filter - 'within'));
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.hold(jsonb, text, text, boolean) is
    'Puts aside remittances that wait to be sent, as held by_operator: retry sends them again, release and '
    'write_off end them. Their deadlines go on. What is in flight is left alone. Dry run unless told otherwise.';

create function postmeter.write_off_corrected(delivery bigint) returns numeric
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    m       record;
    reduced numeric;
    total   numeric := 0;
begin
    -- its meters are locked, and so is the delivery
    for m in
        with recursive counted as (
            select write_off_corrected.delivery as id
            union
            -- quantity that a release gave to it
            select c.delivery_id from counted x join postmeter.decision c on c.target_delivery_id = x.id
                where c.verb = 'release'
        ), credit as materialized (
            select mm.meter_id, sum(a.quantity * mm.factor_numerator * (t.denominator / mm.factor_denominator)) as units
            from counted x
            join postmeter.allocation a on a.delivery_id = x.id and a.round = -1
            join postmeter.meter_metric mm on mm.id = a.meter_metric_id
            join postmeter.meter t on t.id = mm.meter_id
            group by 1
        )
        select t.*, k.to_bill, u.units,
               postmeter.round_units(u.units - c.units, t.denominator, r.rounding, t.decimals) as before,
               postmeter.round_units(u.units, t.denominator, r.rounding, t.decimals) as after
        from credit c
        join postmeter.meter t on t.id = c.meter_id
        cross join lateral (select t.carried + t.billed * t.denominator as units) u
        cross join lateral (select case when t.month_end = 'round_up' then 'up' else t.rounding end as rounding) r
        cross join lateral (select sum(x.to_bill) as to_bill from postmeter.cut x
                            where x.delivery_id = write_off_corrected.delivery and x.meter_id = t.id) k
        where k.to_bill > 0
        order by t.id
    loop
        reduced := least(m.to_bill, m.before - m.after);
        continue when reduced <= 0;
        insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried,
            deferred, metrics)
        values (write_off_corrected.delivery, m.id, -1, m.denominator, m.units, m.billed, -reduced,
                trim_scale(m.carried + reduced * m.denominator), false, '[]');
        update postmeter.meter u
        set billed = trim_scale(u.billed - reduced), carried = trim_scale(u.carried + reduced * u.denominator),
            -- what later usage did not pay because of it
            billable = trim_scale(greatest(u.billable, m.after - (u.billed - reduced)))
        where u.id = m.id;
        total := total + reduced;
    end loop;
    return total;
end
$$;
comment on function postmeter.write_off_corrected(bigint) is
    'What is written off is what its usage still was: takes back what corrections had taken from it after its cut, '
    'so that they lower no other bill. Returns those billing units.';

create function postmeter.undo_write_off_corrected(delivery bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    part record;
begin
    -- its meters are locked, and so is the delivery
    for part in select c.meter_id, sum(c.to_bill) as to_bill
                from postmeter.cut c where c.delivery_id = undo_write_off_corrected.delivery and c.round < 0
                    group by 1 having sum(c.to_bill) <> 0 order by 1 loop
        perform postmeter.recut(undo_write_off_corrected.delivery, part.meter_id, -part.to_bill);
    end loop;
end
$$;
comment on function postmeter.undo_write_off_corrected(bigint) is
    'What is counted after all is counted whole: adds again what write_off_corrected took back.';
