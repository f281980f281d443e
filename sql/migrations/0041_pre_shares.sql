-- 0041_pre_shares: what a change of the catalogue, a reopened month or a decision moves is moved in shares.
-- programs: from 0022
-- lock: share row exclusive on subscription, for a moment: a trigger

-- deadlines -----------------------------------------------------------------------------------------------------------

create table postmeter.deadline_change (
    id             bigint generated always as identity primary key,
    destination_id integer     not null,
    buyer          text collate "C" not null,
    wanted_at      timestamptz not null default clock_timestamp(),
    next_at        timestamptz not null default clock_timestamp(),
    awaits         xid8
);
create index deadline_change_by_buyer on postmeter.deadline_change (destination_id, buyer);
create index deadline_change_by_time on postmeter.deadline_change (next_at, id);
comment on table postmeter.deadline_change is 'Buyers whose subscriptions have changed: the deadlines of their hours that are not sent yet are to follow. Maintenance moves them, in shares, and deletes the row when none can come any more that goes by the old end; until then each claim goes by the new deadline.';
comment on column postmeter.deadline_change.id is 'Number of the mark.';
comment on column postmeter.deadline_change.destination_id is 'The destination.';
comment on column postmeter.deadline_change.buyer is 'The buyer.';
comment on column postmeter.deadline_change.wanted_at is 'When a subscription changed; the server''s time.';
comment on column postmeter.deadline_change.next_at is 'From when on a worker takes it; later than now: one has it in hand.';
comment on column postmeter.deadline_change.awaits is 'Every deadline has followed, as far as could be seen: it is looked once more when all transactions before this one have ended, for one of them may open an hour by the old end. Null: not yet.';

create function postmeter.deadlines_behind(marks bigint[])
returns table (delivery_id bigint, destination_id integer, buyer text)
language sql stable
begin atomic
    with changed as materialized (
        select distinct c.destination_id, c.buyer, (select postmeter.clock()) - t.age_limit as since
        from postmeter.deadline_change c
        join postmeter.destination t on t.id = c.destination_id
        where c.id = any (marks)
    ), hours as materialized (
        select o.id, o.destination_id, c.buyer, o.hour, o.deadline
        from changed c
        join postmeter.meter m on m.destination_id = c.destination_id and m.buyer = c.buyer
        join postmeter.delivery o on o.meter_id = m.id and o.hour > c.since
        -- a bound of all of them is one that an index takes: nothing is read of what is older
        where o.hour > (select min(x.since) from changed x)
          and o.status in ('open', 'nothing_due', 'due', 'in_flight', 'rejected', 'unknown', 'held')
    ), deadlines as materialized (
        -- once for all meters of a buyer
        select h.destination_id, h.buyer, h.hour, postmeter.deadline_of(h.destination_id, h.buyer, h.hour) as deadline
        from (select distinct h.destination_id, h.buyer, h.hour from hours h) h
    )
    select h.id, h.destination_id, h.buyer
    from hours h
    join deadlines n on n.destination_id = h.destination_id and n.buyer = h.buyer and n.hour = h.hour
    where n.deadline <> h.deadline;
end;
comment on function postmeter.deadlines_behind(marks bigint[]) is 'Remittances of these marks'' buyers that are not sent yet and whose deadline is not that of their subscriptions.';
revoke execute on function postmeter.deadlines_behind(bigint[]) from public;
grant execute on function postmeter.deadlines_behind(bigint[]) to postmeter_worker;

create or replace function postmeter.deadlines_follow() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and (old.destination_id, old.buyer, old.valid_until) is not distinct from (new.destination_id, new.buyer, new.valid_until) then
        return null;
    end if;
    -- the first of a buyer, without an end, leaves each deadline as it was
    if tg_op <> 'DELETE' and old.buyer is null and new.valid_until is null and not exists (
        select from postmeter.subscription s
        where s.destination_id = new.destination_id and s.buyer = new.buyer and s.id <> new.id) then
        return null;
    end if;
    -- who was never metered may be metered by a fold that is not committed yet
    insert into postmeter.deadline_change (destination_id, buyer)
    select x.destination_id, x.buyer
    from (values (old.destination_id, old.buyer), (new.destination_id, new.buyer)) x(destination_id, buyer)
    where x.buyer is not null
    group by x.destination_id, x.buyer
    order by x.destination_id, x.buyer;
    -- a program that knows no marks moves none, and sends what it has not heard of: for it a share moves at once
    if exists (select from postmeter.worker w
               where w.stopped_at is null and w.reaped_at is null and w.lease_until > clock_timestamp() and coalesce(w.knows, 0) < 41) then
        update postmeter.delivery d
        set deadline = x.deadline
        from (
            select o.id, n.deadline
            from (values (old.destination_id, old.buyer), (new.destination_id, new.buyer)) b(destination_id, buyer)
            join postmeter.meter m on m.destination_id = b.destination_id and m.buyer = b.buyer
            join postmeter.delivery o on o.meter_id = m.id
            cross join lateral (select postmeter.deadline_of(m.destination_id, m.buyer, o.hour) as deadline) n
            where o.hour > (select postmeter.clock() - max(t.age_limit) from postmeter.destination t
                            where t.id in (old.destination_id, new.destination_id))
              and o.status in ('open', 'due') and n.deadline <> o.deadline
            order by o.id
            limit 1000
            for update of o skip locked
        ) x
        where d.id = x.id;
    end if;
    return null;
end
$$;
comment on function postmeter.deadlines_follow() is 'Trigger of subscription: one that ends, is renewed, is removed or passes to another buyer marks its buyers (deadline_change); the deadlines of the hours that are not sent yet follow, in shares.';
create or replace trigger deadlines_follow after insert or update or delete on postmeter.subscription
    for each row execute function postmeter.deadlines_follow();

grant select, delete on postmeter.deadline_change to postmeter_worker;
grant update (next_at, awaits) on postmeter.deadline_change to postmeter_worker;
grant select on postmeter.deadline_change to postmeter_reader, postmeter_operator;

-- usage that shadows count by now, a share at a time ------------------------------------------------------------------

create function postmeter.return_shadow_of(shadows integer[], usages uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    shadow   integer;
    changed  bigint;
    returned bigint := 0;
begin
    for shadow in select distinct g.shadow from unnest(shadows) g(shadow) order by 1 loop
        with waiting as materialized (
            select u.* from postmeter.shadow_usage u
            where u.destination_id = shadow
              and u.usage_id in (select g.usage_id from unnest(shadows, usages) g(of, usage_id) where g.of = shadow)
              and u.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
            order by u.usage_id
            for update skip locked
        ), kinds as materialized (
            select w.org, w.product, w.metric, w.account, w.hour, w.reason, row_number() over () as item
            from waiting w group by 1, 2, 3, 4, 5, 6
        ), given as (
            select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
                   array_agg(k.account order by k.item) a, array_agg(k.hour order by k.item) h
            from kinds k
        ), cured as materialized (
            select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h, shadow) r join kinds k on k.item = r.item
            where r.reason is distinct from k.reason
        )
        update postmeter.shadow_usage u
        set reason = null
        from waiting w
        join cured k on k.org = w.org and k.product = w.product and k.metric = w.metric
         and k.account is not distinct from w.account and k.hour = w.hour and k.reason = w.reason
        where u.destination_id = shadow and u.usage_id = w.usage_id;
        get diagnostics changed = row_count;
        returned := returned + changed;
    end loop;
    return returned;
end
$$;
comment on function postmeter.return_shadow_of(shadows integer[], usages uuid[]) is 'Lets shadows count those of these usages (each with the shadow that did not count it) whose reason no longer holds; what another session holds is passed over. Returns how many.';
revoke execute on function postmeter.return_shadow_of(integer[], uuid[]) from public;
grant execute on function postmeter.return_shadow_of(integer[], uuid[]) to postmeter_worker;

-- held usage of a month that is opened again --------------------------------------------------------------------------

create or replace function postmeter.reopen_month(destination text, month date, who text, why text, dry_run boolean default true)
returns table (usages bigint, org text, product text, metric text, quantity numeric)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    first    uuid[];
    returned bigint;
    t        postmeter.destination;
begin
    perform postmeter.month_last_deadline(reopen_month.destination, reopen_month.month);
    perform postmeter.check_decider(who, why);
    perform postmeter.month_gate_alone();
    select x.* into t from postmeter.destination x where x.name = reopen_month.destination;
    -- whoever puts usage aside for the month has passed the gate before us: this is all of it
    return query
    select count(*), h.org, h.product, h.metric, trim_scale(sum(h.quantity)) from postmeter.held h
    where h.reason = 'month_closed' and h.destination_id = t.id and postmeter.month_of(h.hour, t.zone) = reopen_month.month
    group by 2, 3, 4 order by 2, 3, 4;
    if dry_run is not false then
        return;
    end if;
    select (array_agg(h.usage_id order by h.usage_id))[:1000], count(*) into first, returned
    from postmeter.held h
    where h.reason = 'month_closed' and h.destination_id = t.id and postmeter.month_of(h.hour, t.zone) = reopen_month.month;
    delete from postmeter.closed_month c where c.destination_id = t.id and c.month = reopen_month.month;
    if found then
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after, detail)
        values (who, why, 'reopen', t.id, 'closed', 'open', jsonb_build_object('month', reopen_month.month, 'returned', returned));
    end if;
    perform postmeter.return_cured_of(first);
    if returned > 1000 then
        -- folds wait for us: maintenance goes on with the rest
        insert into postmeter.cure default values;
    end if;
end
$$;
comment on function postmeter.reopen_month(destination text, month date, who text, why text, dry_run boolean) is
    'Opens a closed month again: what was held as month_closed goes back to the outbox, a thousand at once; where more is held, maintenance goes on with the rest. Returns how much that is. Dry run unless told otherwise.';

-- decisions about held usage ------------------------------------------------------------------------------------------

-- A filter may say within, as one of dead letters may: a program that decides about much takes it in shares.
create or replace function postmeter.held_usage_by(filter jsonb) returns setof postmeter.held
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    given jsonb := filter - 'within';
begin
    perform postmeter.check_filter(given, array['org', 'account', 'product', 'metric', 'destination', 'reason', 'from', 'until', 'usage', 'all']);
    perform postmeter.check_word(given, 'reason', array['no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
        'too_late', 'month_closed', 'poison', 'by_operator', 'implausible']);
    if filter ? 'within' then
        -- what the whole filter means was asked before; what is held for another reason by now is another matter
        return query
        select h.* from postmeter.held h
        where h.usage_id = any (array(select w.id::uuid from jsonb_array_elements_text(filter -> 'within') w(id)))
          and (filter ->> 'reason' is null or h.reason = filter ->> 'reason')
        order by h.usage_id;
        return;
    end if;
    return query
    select h.* from postmeter.held h
    left join postmeter.destination t on t.id = h.destination_id
    where (filter ->> 'org' is null or h.org = filter ->> 'org')
      and (filter ->> 'account' is null or h.account = filter ->> 'account')
      and (filter ->> 'product' is null or h.product = filter ->> 'product')
      and (filter ->> 'metric' is null or h.metric = filter ->> 'metric')
      and (filter ->> 'destination' is null or t.name = filter ->> 'destination')
      and (filter ->> 'reason' is null or h.reason = filter ->> 'reason')
      and (filter ->> 'usage' is null or h.usage_id = (filter ->> 'usage')::uuid)
      and (filter ->> 'from' is null or h.hour >= (filter ->> 'from')::timestamptz)
      and (filter ->> 'until' is null or h.hour < (filter ->> 'until')::timestamptz)
    order by h.usage_id;
    -- all that there is may be nothing; what was decided already is nothing left to do; else it is a mistake
    if not found and not coalesce((filter ->> 'all')::boolean, false) and not exists (
        select from postmeter.decision c
        join postmeter.usage u on u.id = c.usage_id
        where (filter ->> 'org' is null or u.org = filter ->> 'org')
          and (filter ->> 'account' is null or u.account = filter ->> 'account')
          and (filter ->> 'product' is null or u.product = filter ->> 'product')
          and (filter ->> 'metric' is null or u.metric = filter ->> 'metric')
          and (filter ->> 'destination' is null or c.detail ->> 'destination' = filter ->> 'destination')
          and (filter ->> 'reason' is null or c.detail ->> 'reason' = filter ->> 'reason')
          and (filter ->> 'usage' is null or u.id = (filter ->> 'usage')::uuid)
          and (filter ->> 'from' is null or postmeter.hour_of(u.used_at) >= (filter ->> 'from')::timestamptz)
          and (filter ->> 'until' is null or postmeter.hour_of(u.used_at) < (filter ->> 'until')::timestamptz)) then
        perform postmeter.check_filter_known(filter, true);
    end if;
end
$$;
comment on function postmeter.held_usage_by(filter jsonb) is 'Held usage that a filter names; none: somebody decided about it already. With within, a list of usages, only those of them. Refuses what cannot be meant, values that do not exist, and what fits nothing, as deliveries_by does.';

do $$
declare
    change     record;
    definition text;
    changed    text;
begin
    for change in
        select * from (values
            ('retry_held',     'jsonb_build_object(''filter'', filter,', 'jsonb_build_object(''filter'', filter - ''within'','),
            ('write_off_held', 'jsonb_build_object(''filter'', filter,', 'jsonb_build_object(''filter'', filter - ''within'',')
        ) c(name, before, after)
    loop
        select pg_get_functiondef(p.oid) into strict definition
        from pg_proc p where p.pronamespace = 'postmeter'::regnamespace and p.proname = change.name;
        changed := replace(definition, change.before, change.after);
        if changed = definition then
            raise exception '% is not as this migration knows it', change.name;
        end if;
        execute changed;
    end loop;
end
$$;

-- setbacks ------------------------------------------------------------------------------------------------------------

-- Whoever writes several of these rows takes them in the order of their key, so that two never wait for one another.
create or replace function postmeter.try_setbacks_again() returns integer
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    with waiting as materialized (
        select s.step, s.member from postmeter.setback s where s.next_at > clock_timestamp() order by s.step, s.member for update
    ), again as (
        update postmeter.setback s set next_at = clock_timestamp()
        from waiting w where s.step = w.step and s.member = w.member
        returning 1
    )
    select count(*)::integer from again;
end;

create function postmeter.setback_is_over(step text, member text) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    case
        when step in ('cut', 'shadow_cut') then
            return not exists (select from postmeter.open_hour o where o.delivery_id = setback_is_over.member::bigint);
        when step = 'promote' then
            return not exists (select from postmeter.later l where l.delivery_id = setback_is_over.member::bigint);
        when step = 'deadlines' then
            -- its deadline is right, or no mark of its buyer stands
            return not exists (
                select from postmeter.delivery d
                join postmeter.meter m on m.id = d.meter_id
                where d.id = setback_is_over.member::bigint
                  and d.status in ('open', 'nothing_due', 'due', 'in_flight', 'rejected', 'unknown', 'held')
                  and postmeter.deadline_of(d.destination_id, m.buyer, d.hour) <> d.deadline
                  and exists (select from postmeter.deadline_change c where c.destination_id = d.destination_id and c.buyer = m.buyer));
        when step in ('settle', 'reap') then
            return not exists (
                select from postmeter.attempt a
                where a.delivery_id = setback_is_over.member::bigint
                  and not exists (select from postmeter.outcome o where o.attempt_id = a.id));
        else
            return false;
    end case;
end
$$;
comment on function postmeter.setback_is_over(step text, member text) is 'Whether the step has nothing to do with this member of postmeter.setback any more, whoever saw to that. False where only the step itself can tell.';
revoke execute on function postmeter.setback_is_over(text, text) from public;  -- setbacks_over asks it

create function postmeter.setbacks_over(step text) returns setof text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    members text[];
begin
    if step <> 'gather' then
        return query
        select s.member from postmeter.setback s
        where s.step = setbacks_over.step and postmeter.setback_is_over(s.step, s.member);
        return;
    end if;
    select array_agg(s.member) into members from postmeter.setback s where s.step = setbacks_over.step;
    if members is null then
        return;
    end if;
    -- once through what is not counted yet, however many members there are
    return query
    select m.member from unnest(members) m(member)
    except
    select left(n.request_key, 50) from postmeter.request_news n where left(n.request_key, 50) = any (members);
end
$$;
comment on function postmeter.setbacks_over(step text) is 'Members of postmeter.setback with which this step has nothing to do any more, whoever saw to that.';
revoke execute on function postmeter.setbacks_over(text) from public;
grant execute on function postmeter.setbacks_over(text) to postmeter_worker;

comment on column postmeter.suspect_range.since is 'Since when, or when it was put behind the others because another session''s lock was in its way: the server''s time.';

-- gates ---------------------------------------------------------------------------------------------------------------

create function postmeter.gather_gate() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform postmeter.take_gate('gather_requests');
end
$$;
comment on function postmeter.gather_gate() is 'One counts request statuses at a time, until the transaction ends: who waits for this waits for nobody''s status.';
revoke execute on function postmeter.gather_gate() from public;
grant execute on function postmeter.gather_gate() to postmeter_worker, postmeter_console;

insert into postmeter.migration (version, name) values (41, '0041_pre_shares');
