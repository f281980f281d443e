-- 0006_pre_decisions: what people may do about what is stuck; each leaves who, when and why. Evidence is never edited.

create function postmeter.deliveries_by(filter jsonb, waiting boolean default false) returns setof postmeter.delivery
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    unknown text;
begin
    select k into unknown from jsonb_object_keys(coalesce(filter, '{}')) k
    where k <> all (array['org', 'account', 'product', 'metric', 'destination', 'status', 'reason', 'from', 'until', 'delivery', 'all'])
    limit 1;
    if found then
        raise exception 'filter has no field %', quote_literal(unknown)
            using errcode = 'PM030', column = unknown, constraint = 'filter_field',
                  hint = 'Fields: org, account, product, metric, destination, status, reason, from, until, delivery, or {"all": true}.';
    end if;
    filter := jsonb_strip_nulls(filter);  -- a null names nothing
    if filter is null or filter = '{}' or (filter - 'all' = '{}' and not coalesce((filter ->> 'all')::boolean, false)) then
        raise exception 'a filter is needed: nothing is changed by accident'
            using errcode = 'PM031', column = 'filter', constraint = 'filter_needed',
                  hint = 'Name org, product, destination, status …, or say {"all": true}.';
    end if;
    return query
    select d.*
    from (select s.delivery_id from postmeter.stuck s where not waiting
          union all select q.delivery_id from postmeter.due q where waiting
          union all select l.delivery_id from postmeter.later l where waiting) k
    join postmeter.delivery d on d.id = k.delivery_id
    join postmeter.destination t on t.id = d.destination_id
    where d.status in ('rejected', 'expired', 'conflict', 'unknown', 'held', 'due')
      and (filter ->> 'status' is null or d.status = filter ->> 'status')
      and (filter ->> 'reason' is null or d.reason = filter ->> 'reason')
      and (filter ->> 'destination' is null or t.name = filter ->> 'destination')
      and (filter ->> 'delivery' is null or d.id = (filter ->> 'delivery')::bigint)
      and (filter ->> 'from' is null or d.hour >= (filter ->> 'from')::timestamptz)
      and (filter ->> 'until' is null or d.hour < (filter ->> 'until')::timestamptz)
      and (filter ->> 'product' is null or d.product = filter ->> 'product')
      and (filter ->> 'org' is null and filter ->> 'account' is null and filter ->> 'metric' is null or exists (
            select from postmeter.allocation a
            join postmeter.subscription s on s.id = a.subscription_id
            join postmeter.meter_metric mm on mm.id = a.meter_metric_id
            where a.delivery_id = d.id
              and (filter ->> 'org' is null or s.org = filter ->> 'org')
              and (filter ->> 'account' is null or s.account = filter ->> 'account')
              and (filter ->> 'metric' is null or mm.metric = filter ->> 'metric')))
    order by d.id;
end
$$;
comment on function postmeter.deliveries_by(jsonb, boolean) is
    'Dead letters that a filter names: rejected, expired, conflict, unknown or held remittances; or, if waiting, those that wait to be sent. Refuses an empty filter (PM031) and unknown fields (PM030).';

create function postmeter.check_decider(who text, why text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(who, '') = '' or coalesce(why, '') = '' then
        raise exception 'a decision needs who and why'
            using errcode = 'PM032', column = case when coalesce(who, '') = '' then 'who' else 'why' end, constraint = 'decision_signed';
    end if;
end
$$;
comment on function postmeter.check_decider(text, text) is 'Refuses a decision without a name or a reason (PM032).';

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
    for d in select f.* from postmeter.delivery f where f.id in (select b.id from postmeter.deliveries_by(filter) b) order by f.id for update loop
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; quantity := d.quantity; note := null;
        status_after := d.status;
        if d.body is null then
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
        end if;
        if status_after = 'due' and not dry_run then
            update postmeter.delivery u
            set status = 'due', reason = null, tries = 0, deaths = 0, batch_limit = 1, changed_at = now
            where u.id = d.id;
            insert into postmeter.due (delivery_id, destination_id, deadline) values (d.id, d.destination_id, d.deadline);
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'retry', d.id, d.status, 'due', d.quantity, jsonb_build_object('filter', filter));
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.retry(jsonb, text, text, boolean) is
    'Sends dead letters again, with the same bytes and key, while their deadline allows. Dry run unless told otherwise. Never touches what is accepted.';

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
        select c.meter_id from postmeter.cut c where c.delivery_id in (select b.id from postmeter.deliveries_by(filter) b)));
    for d in select f.* from postmeter.delivery f where f.id in (select b.id from postmeter.deliveries_by(filter) b) order by f.id for update loop
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := d.status; quantity := d.quantity; note := null;
        if d.maybe_billed then
            note := 'may have been billed: resolve it first';
        elsif d.status = 'conflict' then
            note := 'they hold a quantity under this key: resolve it or write it off';
        elsif exists (select from postmeter.cut c join postmeter.meter m on m.id = c.meter_id
                      join postmeter.closed_month x on x.destination_id = m.destination_id and x.month = m.month
                      where c.delivery_id = d.id) then
            note := 'its month is closed: reopen the month first, or write it off';
        elsif exists (select from postmeter.cut c join postmeter.meter m on m.id = c.meter_id
                      join postmeter.destination t on t.id = m.destination_id
                      where c.delivery_id = d.id and postmeter.target_hour(m.id) is null and t.late_policy <> 'part') then
            note := 'no hour of its month can take it any more: write it off, or set the destination''s late_policy to part';
        else
            status_after := 'released';
        end if;
        if status_after = 'released' and not dry_run then
            update postmeter.delivery u set status = 'released', reason = null, releases = u.releases + 1, changed_at = now,
                body = coalesce(u.body, ''), batch_group = coalesce(u.batch_group, ''),
                idempotency_key = coalesce(u.idempotency_key, '00000000-0000-0000-0000-000000000000')
            where u.id = d.id;
            target := null;
            for part in select c.meter_id, sum(c.to_bill) as to_bill from postmeter.cut c where c.delivery_id = d.id group by 1 order by 1 loop
                update postmeter.meter m
                set billed = trim_scale(m.billed - part.to_bill), carried = trim_scale(m.carried + part.to_bill * m.denominator),
                    billable = trim_scale(m.billable + part.to_bill)
                where m.id = part.meter_id;
                if part.to_bill > 0 then
                    target := postmeter.open_target(part.meter_id, d.identity, d.product);
                end if;
            end loop;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, target_delivery_id, detail)
            values (who, why, 'release', d.id, d.status, 'released', d.quantity, target, jsonb_build_object('filter', filter));
            note := 'its quantity goes to remittance ' || target;
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.release(jsonb, text, text, boolean) is
    'Gives the quantity of dead letters back to their meters; it is billed with another hour of the month, or by policy as a part of the running one. Refused while maybe billed, and in a closed month. Dry run unless told otherwise.';

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
    for d in select f.* from postmeter.delivery f where f.id in (select b.id from postmeter.deliveries_by(filter) b) order by f.id for update loop
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := d.status; quantity := d.quantity; note := null;
        if d.maybe_billed then
            note := 'may have been billed: resolve it first';
        else
            status_after := 'written_off';
        end if;
        if status_after = 'written_off' and not dry_run then
            update postmeter.delivery u set status = 'written_off', reason = null, changed_at = now,
                body = coalesce(u.body, ''), batch_group = coalesce(u.batch_group, ''),
                idempotency_key = coalesce(u.idempotency_key, '00000000-0000-0000-0000-000000000000')
            where u.id = d.id;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'write_off', d.id, d.status, 'written_off', d.quantity, jsonb_build_object('filter', filter));
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.write_off(jsonb, text, text, boolean) is
    'Gives up dead letters: their quantity is shown as written off and is not billed again. Refused while maybe billed. Dry run unless told otherwise.';

create function postmeter.resolve_unknown(delivery bigint, billed boolean, who text, why text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    d     postmeter.delivery;
    now   timestamptz := postmeter.clock();
    after text;
begin
    perform postmeter.check_decider(who, why);
    select f.* into d from postmeter.delivery f where f.id = resolve_unknown.delivery for update;
    if not found then
        raise exception 'there is no remittance %', delivery using errcode = 'PM033', column = 'delivery', constraint = 'delivery_exists';
    end if;
    if d.status = 'conflict' and billed then
        after := 'accepted';
    elsif d.maybe_billed and d.status in ('unknown', 'held') then
        after := case when billed then 'accepted' when d.deadline >= now then 'due' else 'expired' end;
    else
        raise exception 'remittance % is % and has nothing to resolve', delivery, d.status
            using errcode = 'PM034', column = 'delivery', constraint = 'delivery_unresolved',
                  hint = 'Only what may have been billed, or a conflict that they hold as ours, is resolved by hand.';
    end if;
    update postmeter.delivery u
    set status = after, reason = null, maybe_billed = false, maybe_since = null, deaths = 0, tries = 0,
        confirmed = case when after = 'accepted' then false end, changed_at = now
    where u.id = d.id;
    if after = 'due' then
        insert into postmeter.due (delivery_id, destination_id, deadline) values (d.id, d.destination_id, d.deadline);
    end if;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
    values (who, why, 'resolve', d.id, d.status, after, d.quantity, jsonb_build_object('billed', billed));
    return after;
end
$$;
comment on function postmeter.resolve_unknown(bigint, boolean, text, text) is
    'A person says whether an unknown remittance was billed: billed, it is accepted (quantity not confirmed); not billed, it is sent again while its deadline allows, else it is expired. Returns the status.';

create function postmeter.held_usage_by(filter jsonb) returns setof postmeter.held
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    unknown text;
begin
    select k into unknown from jsonb_object_keys(coalesce(filter, '{}')) k
    where k <> all (array['org', 'account', 'product', 'metric', 'reason', 'from', 'until', 'usage', 'all']) limit 1;
    if found then
        raise exception 'filter has no field %', quote_literal(unknown)
            using errcode = 'PM030', column = unknown, constraint = 'filter_field',
                  hint = 'Fields: org, account, product, metric, reason, from, until, usage, or {"all": true}.';
    end if;
    filter := jsonb_strip_nulls(filter);  -- a null names nothing
    if filter is null or filter = '{}' or (filter - 'all' = '{}' and not coalesce((filter ->> 'all')::boolean, false)) then
        raise exception 'a filter is needed: nothing is changed by accident'
            using errcode = 'PM031', column = 'filter', constraint = 'filter_needed';
    end if;
    return query
    select h.* from postmeter.held h
    where (filter ->> 'org' is null or h.org = filter ->> 'org')
      and (filter ->> 'account' is null or h.account = filter ->> 'account')
      and (filter ->> 'product' is null or h.product = filter ->> 'product')
      and (filter ->> 'metric' is null or h.metric = filter ->> 'metric')
      and (filter ->> 'reason' is null or h.reason = filter ->> 'reason')
      and (filter ->> 'usage' is null or h.usage_id = (filter ->> 'usage')::uuid)
      and (filter ->> 'from' is null or h.hour >= (filter ->> 'from')::timestamptz)
      and (filter ->> 'until' is null or h.hour < (filter ->> 'until')::timestamptz)
    order by h.usage_id;
end
$$;
comment on function postmeter.held_usage_by(jsonb) is 'Held usage that a filter names. Refuses an empty filter (PM031) and unknown fields (PM030).';

create function postmeter.retry_held(filter jsonb, who text, why text, dry_run boolean default true)
returns table (usage_id uuid, reason text, quantity numeric)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    chosen uuid[];
begin
    perform postmeter.check_decider(who, why);
    select array_agg(h.usage_id order by h.usage_id) into chosen from postmeter.held_usage_by(filter) h;
    return query select h.usage_id, h.reason, h.quantity from postmeter.held h where h.usage_id = any (chosen) order by 1 for update;
    if not dry_run then
        insert into postmeter.decision (who, why, verb, usage_id, status_before, status_after, quantity, detail)
        select who, why, 'retry', h.usage_id, 'held', 'outbox', h.quantity, jsonb_build_object('filter', filter, 'reason', h.reason)
        from postmeter.held h where h.usage_id = any (chosen);
        perform postmeter.return_held(chosen);
    end if;
end
$$;
comment on function postmeter.retry_held(jsonb, text, text, boolean) is 'Sends held usage back to the outbox. Dry run unless told otherwise.';

create table postmeter.usage_written_off (
    usage_id    uuid   not null primary key,
    decision_id bigint not null
);
comment on table postmeter.usage_written_off is 'Held usage that a person gave up.';
comment on column postmeter.usage_written_off.usage_id is 'The usage.';
comment on column postmeter.usage_written_off.decision_id is 'The decision.';

create function postmeter.write_off_held(filter jsonb, who text, why text, dry_run boolean default true)
returns table (usage_id uuid, reason text, quantity numeric)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    chosen uuid[];
begin
    perform postmeter.check_decider(who, why);
    select array_agg(h.usage_id order by h.usage_id) into chosen from postmeter.held_usage_by(filter) h;
    return query select h.usage_id, h.reason, h.quantity from postmeter.held h where h.usage_id = any (chosen) order by 1 for update;
    if not dry_run then
        with given_up as (
            delete from postmeter.held h where h.usage_id = any (chosen) returning h.usage_id, h.quantity, h.reason
        ), decided as (
            insert into postmeter.decision (who, why, verb, usage_id, status_before, status_after, quantity, detail)
            select who, why, 'write_off', g.usage_id, 'held', 'written_off', g.quantity, jsonb_build_object('filter', filter, 'reason', g.reason)
            from given_up g
            returning id, usage_id
        )
        insert into postmeter.usage_written_off (usage_id, decision_id) select d.usage_id, d.id from decided d;
    end if;
end
$$;
comment on function postmeter.write_off_held(jsonb, text, text, boolean) is 'Gives up held usage. Dry run unless told otherwise.';

create function postmeter.pause(destination text, who text, why text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform postmeter.set_paused(destination, true, who, why);
end
$$;
comment on function postmeter.pause(text, text, text) is 'Stops sending to a destination; what is in flight ends by itself.';

create function postmeter.resume(destination text, who text, why text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform postmeter.set_paused(destination, false, who, why);
end
$$;
comment on function postmeter.resume(text, text, text) is 'Sends to a paused destination again.';

create function postmeter.set_paused(destination text, paused boolean, who text, why text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t postmeter.destination;
begin
    perform postmeter.check_decider(who, why);
    select * into t from postmeter.destination x where x.name = set_paused.destination for update;
    if not found then
        raise exception 'there is no destination %', quote_literal(destination) using errcode = 'PM033', column = 'destination', constraint = 'destination_exists';
    end if;
    update postmeter.destination x set paused = set_paused.paused where x.id = t.id;
    insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after)
    values (who, why, case when set_paused.paused then 'pause' else 'resume' end, t.id,
            case when t.paused then 'paused' else 'sending' end, case when set_paused.paused then 'paused' else 'sending' end);
end
$$;
comment on function postmeter.set_paused(text, boolean, text, text) is 'What pause and resume share.';

insert into postmeter.migration (version, name) values (6, '0006_pre_decisions');
