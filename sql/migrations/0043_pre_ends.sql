-- 0043_pre_ends: subscriptions end at any minute; deadlines go by the span that serves an hour, and follow a destination's limits.
-- programs: from 0022
-- lock: access exclusive on subscription, grows with its rows: two indexes, and ends on any second
-- lock: access exclusive on deadline_change, for a moment: a column
-- lock: share row exclusive on destination, for a moment: a trigger
-- lock: access exclusive on unremitted, for a moment: a view is written anew
-- lock: access exclusive on remittance_summary, for a moment: a view is written anew

-- ends and beginnings inside an hour ----------------------------------------------------------------------------------

-- squawk-ignore ban-drop-constraint
alter table postmeter.subscription drop constraint subscription_valid_from_check, drop constraint subscription_valid_until_check;
-- what the catalogue writes is whole seconds: a file reads back as it was written
alter table postmeter.subscription
    add constraint subscription_valid_from_check check (extract(epoch from valid_from) % 1 = 0) not valid,
    add constraint subscription_valid_until_check check (extract(epoch from valid_until) % 1 = 0) not valid;
-- squawk-ignore require-concurrent-index-creation
create index subscription_by_end on postmeter.subscription (valid_until) where valid_until is not null;
-- squawk-ignore require-concurrent-index-creation
create index subscription_begins_inside on postmeter.subscription (valid_from) where valid_from <> postmeter.hour_of(valid_from);
comment on table postmeter.subscription is 'Who buys what where: an org''s product at a marketplace account, for a time. It may begin and end at any second; usage belongs to the one that is valid when it is used, its remittance to the whole hour.';
comment on column postmeter.subscription.valid_from is 'Its begin.';
comment on column postmeter.subscription.valid_until is 'End (exclusive), at any second; null: open.';

create function postmeter.resolved_at(org text, product text, used_at timestamptz) returns timestamptz
language sql stable
begin atomic
    select coalesce(max(x.at), postmeter.hour_of(resolved_at.used_at))
    from postmeter.subscription s
    cross join lateral (values (s.valid_from), (s.valid_until)) x(at)
    where s.org = resolved_at.org and s.product = resolved_at.product
      and x.at > postmeter.hour_of(resolved_at.used_at) and x.at <= resolved_at.used_at;
end;
comment on function postmeter.resolved_at(org text, product text, used_at timestamptz) is 'The moment for which the catalogue is asked about a usage: the last end or begin of its org''s subscriptions within its hour that was not after it, else the start of its hour. Usages with the same moment are resolved alike.';
revoke execute on function postmeter.resolved_at(text, text, timestamptz) from public;
grant execute on function postmeter.resolved_at(text, text, timestamptz) to postmeter_worker;

create function postmeter.served_until(destination_id integer, buyer text, hour timestamptz) returns timestamptz
language sql stable
begin atomic
    select e.valid_until
    from (select max(coalesce(s.valid_until, 'infinity')) as at
          from postmeter.subscription s
          where s.destination_id = served_until.destination_id and s.buyer = served_until.buyer
            and s.valid_from < served_until.hour + interval '1 hour') f
    join postmeter.subscription e on e.destination_id = served_until.destination_id and e.buyer = served_until.buyer
                                 and e.valid_until >= f.at
    where not exists (
        select from postmeter.subscription r
        where r.destination_id = served_until.destination_id and r.buyer = served_until.buyer
          and r.valid_from <= e.valid_until and (r.valid_until is null or r.valid_until > e.valid_until))
    order by e.valid_until
    limit 1;
end;
comment on function postmeter.served_until(destination_id integer, buyer text, hour timestamptz) is 'When the subscriptions of a buyer end that serve an hour: the last one that begins before the hour''s end, and those that follow without a gap. Null: they do not end. A later one behind a gap changes nothing.';
revoke execute on function postmeter.served_until(integer, text, timestamptz) from public;
grant execute on function postmeter.served_until(integer, text, timestamptz) to postmeter_reader, postmeter_operator, postmeter_worker;

create or replace function postmeter.deadline_of(destination_id integer, buyer text, hour timestamptz) returns timestamptz
language sql stable
begin atomic
    select least(deadline_of.hour + t.age_limit,
                 ((postmeter.month_of(deadline_of.hour, t.zone) + interval '1 month')::timestamp at time zone t.zone) + t.month_cutoff,
                 postmeter.served_until(t.id, deadline_of.buyer, deadline_of.hour) + t.closing_window) - t.margin
    from postmeter.destination t where t.id = deadline_of.destination_id;
end;
comment on function postmeter.deadline_of(integer, text, timestamptz) is
    'Last moment at which an hour may be sent: earliest of age limit, month cut-off and end of the subscriptions that serve it (served_until) plus closing window, less the margin.';

create function postmeter.meter_ends(destination_id integer, buyer text, month_ends timestamptz) returns timestamptz
language sql stable
begin atomic
    select least(meter_ends.month_ends, max(coalesce(s.valid_until, 'infinity')))
    from postmeter.subscription s
    where s.destination_id = meter_ends.destination_id and s.buyer = meter_ends.buyer and s.valid_from < meter_ends.month_ends;
end;
comment on function postmeter.meter_ends(destination_id integer, buyer text, month_ends timestamptz) is 'When a meter ends: with its month, or before with the last of its buyer''s subscriptions in it. The cut of the hour before that settles what is left, and so does any later one.';
revoke execute on function postmeter.meter_ends(integer, text, timestamptz) from public;
grant execute on function postmeter.meter_ends(integer, text, timestamptz) to postmeter_reader, postmeter_operator, postmeter_worker;

create or replace function postmeter.target_hour(meter_id bigint) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp
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
                    and s.valid_from < h.hour + interval '1 hour' and (s.valid_until is null or h.hour < s.valid_until))
      and l.deadline >= c.now
      and not exists (select from postmeter.delivery d
                      where d.meter_id = m.id and d.hour = h.hour and d.status not in ('open', 'nothing_due'))
    -- a closed hour with time for retries, the newest first; then the running hour; a closed hour near its deadline last
    order by case when back > 0 and l.deadline >= c.now + greatest(t.lead, t.age_limit / 4) then 0 when back = 0 then 1 else 2 end, back
    limit 1
$$;

create or replace function postmeter.check_subscription() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    other postmeter.subscription;
begin
    -- one writer at a time per org, product and destination: two overlapping rows must not pass each other unseen
    perform postmeter.take_gate('subscription ' || new.destination_id);
    if tg_op = 'UPDATE' and (new.identity, new.destination_id) is distinct from (old.identity, old.destination_id) then
        new.buyer := null; new.buyer_account := null; new.identity_form := null; new.invalid := null;
    end if;
    select s.* into other from postmeter.subscription s
    where s.id <> new.id and s.org = new.org and s.product = new.product and s.destination_id = new.destination_id
      and s.account is not distinct from new.account
      and s.valid_from < coalesce(new.valid_until, 'infinity') and new.valid_from < coalesce(s.valid_until, 'infinity')
    limit 1;
    if found then
        raise exception 'org % already has a subscription of product % at this destination from % until %',
            new.org, new.product, other.valid_from, coalesce(other.valid_until::text, 'further notice')
            using errcode = 'PM011', schema = 'postmeter', table = 'subscription', column = 'valid_from',
                  constraint = 'subscription_overlap',
                  hint = 'End the earlier one first (valid_until), or tell them apart by account.';
    end if;
    if new.buyer is null then
        return new;
    end if;
    -- whole hours are sent: two forms in one hour bill it twice, though one ends in it before the other begins
    select s.* into other from postmeter.subscription s
    where s.id <> new.id and s.product = new.product and s.destination_id = new.destination_id
      and (s.buyer_account = new.buyer_account or s.org = new.org) and s.identity_form <> new.identity_form
      and postmeter.hour_of(s.valid_from) < coalesce(new.valid_until, 'infinity')
      and postmeter.hour_of(new.valid_from) < coalesce(s.valid_until, 'infinity')
    limit 1;
    if found then
        raise exception 'buyer % of product % would be known by two identity forms (% and %) in one hour and be billed twice',
            new.buyer_account, new.product, other.identity_form, new.identity_form
            using errcode = 'PM012', schema = 'postmeter', table = 'subscription', column = 'identity',
                  constraint = 'subscription_one_identity_form',
                  hint = 'End the old form at the full hour at which the new one begins.';
    end if;
    return new;
end
$$;

-- held usage is asked about as fold asks about it
create or replace function postmeter.return_cured_of(usages uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    cured uuid[];
begin
    with waiting as materialized (
        select h.*, coalesce(postmeter.resolved_at(h.org, h.product, u.used_at), h.hour) as at
        from postmeter.held h
        left join postmeter.usage u on u.id = h.usage_id
        where h.usage_id = any (usages)
          and h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
        for update of h skip locked
    ), kinds as materialized (
        -- a correction has no time of its own: it is held with what it corrects, or until its month is open
        select w.org, w.product, w.metric, w.account, w.at, w.reason, row_number() over () as item
        from waiting w where w.corrected_id is null group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
               array_agg(k.account order by k.item) a, array_agg(k.at order by k.item) h
        from kinds k
    ), changed as (
        select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r join kinds k on k.item = r.item
        where r.reason is distinct from k.reason
    )
    select array_agg(w.usage_id) into cured
    from waiting w
    join changed k on k.org = w.org and k.product = w.product and k.metric = w.metric
     and k.account is not distinct from w.account and k.at = w.at and k.reason = w.reason
    where w.corrected_id is null;
    cured := coalesce(cured, '{}') || array(
        select h.usage_id from postmeter.held h
        where h.usage_id = any (usages) and h.corrected_id is not null
          and h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
          and postmeter.correction_is_free(h.corrected_id, h.destination_id, h.hour, h.reason));
    return postmeter.return_held(cured);
end
$$;

create or replace function postmeter.return_shadow_of(shadows integer[], usages uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    shadow   integer;
    changed  bigint;
    returned bigint := 0;
begin
    for shadow in select distinct g.shadow from unnest(shadows) g(shadow) order by 1 loop
        with waiting as materialized (
            select u.*, coalesce(postmeter.resolved_at(u.org, u.product, x.used_at), u.hour) as at
            from postmeter.shadow_usage u
            -- a correction is asked about as what it corrects
            left join postmeter.usage x on x.id = coalesce(u.corrected_id, u.usage_id)
            where u.destination_id = shadow
              and u.usage_id in (select g.usage_id from unnest(shadows, usages) g(of, usage_id) where g.of = shadow)
              and u.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
            order by u.usage_id
            for update of u skip locked
        ), kinds as materialized (
            select w.org, w.product, w.metric, w.account, w.at, w.reason, row_number() over () as item
            from waiting w group by 1, 2, 3, 4, 5, 6
        ), given as (
            select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
                   array_agg(k.account order by k.item) a, array_agg(k.at order by k.item) h
            from kinds k
        ), cured as materialized (
            select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h, shadow) r join kinds k on k.item = r.item
            where r.reason is distinct from k.reason
        )
        update postmeter.shadow_usage u
        set reason = null
        from waiting w
        join cured k on k.org = w.org and k.product = w.product and k.metric = w.metric
         and k.account is not distinct from w.account and k.at = w.at and k.reason = w.reason
        where u.destination_id = shadow and u.usage_id = w.usage_id;
        get diagnostics changed = row_count;
        returned := returned + changed;
    end loop;
    return returned;
end
$$;

create or replace function postmeter.check_resolved(usage_ids uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    bad record;
begin
    select u.event_id, r.reason, r.item into bad
    from (select array_agg(u.org order by u.id) o, array_agg(u.product order by u.id) p, array_agg(u.metric order by u.id) m,
                 array_agg(u.account order by u.id) a, array_agg(u.used_at order by u.id) h,
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

-- deadlines follow whatever they are made of --------------------------------------------------------------------------

alter table postmeter.deadline_change add column since timestamptz;
comment on column postmeter.deadline_change.since is 'Hours after this are looked at, where the destination''s limits have changed; null: those that its age limit leaves.';
comment on table postmeter.deadline_change is 'Buyers whose subscriptions, or whose destination''s limits, have changed: the deadlines of their hours that are not sent yet are to follow. Maintenance moves them, in shares, and deletes the row when none can come any more that goes by the old end; until then each claim goes by the new deadline.';
comment on column postmeter.deadline_change.wanted_at is 'When the catalogue changed; the server''s time.';

create or replace function postmeter.deadlines_behind(marks bigint[])
returns table (delivery_id bigint, destination_id integer, buyer text)
language sql stable
begin atomic
    with changed as materialized (
        select c.destination_id, c.buyer, min(coalesce(c.since, (select postmeter.clock()) - t.age_limit)) as since
        from postmeter.deadline_change c
        join postmeter.destination t on t.id = c.destination_id
        where c.id = any (marks)
        group by c.destination_id, c.buyer
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

create or replace function postmeter.deadlines_follow() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and (old.destination_id, old.buyer, old.valid_from, old.valid_until)
                            is not distinct from (new.destination_id, new.buyer, new.valid_from, new.valid_until) then
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

create function postmeter.limits_follow() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    first_hour timestamptz := postmeter.clock() - greatest(old.age_limit, new.age_limit);
begin
    if (old.age_limit, old.month_cutoff, old.closing_window, old.margin, old.zone)
       is not distinct from (new.age_limit, new.month_cutoff, new.closing_window, new.margin, new.zone) then
        return null;
    end if;
    -- a mark each, and no lock on any hour: a fold that is not committed may meter whoever is subscribed
    insert into postmeter.deadline_change (destination_id, buyer, since)
    select new.id, b.buyer, first_hour
    from (select m.buyer from postmeter.meter m
          where m.destination_id = new.id and m.month >= postmeter.month_of(first_hour - interval '1 day', 'UTC')
          union
          select s.buyer from postmeter.subscription s where s.destination_id = new.id and s.buyer is not null) b
    order by b.buyer;
    return null;
end
$$;
comment on function postmeter.limits_follow() is 'Trigger of destination: where a limit that deadlines are made of has changed, all its buyers are marked (deadline_change); the deadlines of the hours that are not sent yet follow, in shares.';
create trigger limits_follow after update of age_limit, month_cutoff, closing_window, margin, zone on postmeter.destination
    for each row execute function postmeter.limits_follow();

-- a person's decision goes by today's deadline, marks or not ----------------------------------------------------------

create function postmeter.deadline_now(delivery postmeter.delivery) returns timestamptz
language sql stable
begin atomic
    select coalesce((select postmeter.deadline_of(m.destination_id, m.buyer, (deadline_now.delivery).hour)
                     from postmeter.meter m where m.id = (deadline_now.delivery).meter_id), (deadline_now.delivery).deadline);
end;
comment on function postmeter.deadline_now(delivery postmeter.delivery) is 'The deadline of a remittance by what the catalogue says now, though maintenance may not have moved it yet; that of one that has expired is not moved.';
revoke execute on function postmeter.deadline_now(postmeter.delivery) from public;

do $patch$
declare
    change     record;
    definition text;
    changed    text;
begin
    for change in
        select * from (values
            (1, 'retry', 'quantity := d.quantity; note := null;',
             'quantity := d.quantity; note := null;
        d.deadline := postmeter.deadline_now(d);'),
            (2, 'retry', 'batch_limit = 1, changed_at = now', 'batch_limit = 1, deadline = d.deadline, changed_at = now'),
            (3, 'resolve_unknown', '    changed := true;',
             '    d.deadline := postmeter.deadline_now(d);
    changed := true;'),
            (4, 'resolve_unknown', 'then false end, changed_at = now', 'then false end, deadline = d.deadline, changed_at = now'),
            -- what no hour and no part can take stays where people see it
            (5, 'release', 'or set the destination''''s late_policy to part'';',
             'or set the destination''''s late_policy to part'';
        elsif exists (select from postmeter.cut c join postmeter.meter m on m.id = c.meter_id
                      where c.delivery_id = d.id and c.to_bill > 0 and postmeter.target_hour(m.id) is null
                        and not exists (select from postmeter.subscription s
                                        where s.destination_id = m.destination_id and s.buyer = m.buyer and s.valid_from <= now
                                          and (s.valid_until is null or now < s.valid_until))) then
            note := ''no hour of its month can take it any more, and its buyer has no subscription in whose hour it could be a part: ''
                || ''write it off, or renew the subscription first'';'),
            (6, 'recalculate', 'least(ended, (select case when bool_and(s.valid_until is not null) then max(s.valid_until) end
                                           from postmeter.subscription s where s.destination_id = t.id and s.buyer = c.buyer))',
             'postmeter.meter_ends(t.id, c.buyer, ended)')
        ) c(step, name, before, after)
        order by c.step
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
$patch$;

-- what an hour deferred, or a release gave back -----------------------------------------------------------------------

create or replace view postmeter.unremitted as
select 'usage' as kind, h.org, h.product, h.metric, h.hour, h.quantity, 'metric' as unit, 'held' as status, h.reason, h.deadline,
       h.held_at as since, t.name as destination, null::bigint as delivery_id, h.usage_id, h.usage_id::text as item
from postmeter.held h left join postmeter.destination t on t.id = h.destination_id
union all
select 'usage' as kind, o.org, o.product, o.metric, postmeter.hour_of(o.used_at) as hour, o.quantity, 'metric' as unit, 'waiting' as status,
       null::text as reason, null::timestamptz as deadline, null::timestamptz as since, null::text as destination, null::bigint as delivery_id,
       o.id as usage_id, o.id::text as item
from postmeter.outbox o
union all
select 'remittance' as kind, a.org, a.product, a.metric, a.hour, sum(a.quantity) as quantity, 'metric' as unit, d.status, d.reason, d.deadline,
       d.changed_at as since, t.name as destination, d.id as delivery_id, null::uuid as usage_id,
       jsonb_build_array(d.id, a.org, a.product, a.metric, a.hour)::text as item
from (select s.org, mm.product, mm.metric, x.hour, x.delivery_id, x.quantity
      from postmeter.allocation x
      join postmeter.subscription s on s.id = x.subscription_id
      join postmeter.meter_metric mm on mm.id = x.meter_metric_id
      union all
      select k.org, k.product, k.metric, k.hour, k.delivery_id, k.quantity from postmeter.ledger_carry k where k.hour is not null) a
join postmeter.delivery d on d.id = a.delivery_id
join postmeter.destination t on t.id = d.destination_id
where d.status not in ('accepted', 'nothing_due', 'released') and not d.shadow
group by a.org, a.product, a.metric, a.hour, d.id, t.name
union all
-- quantity that came from other hours has no usage here to be counted by: all of it, or what releases gave beside its own
select 'remittance' as kind, s.org, d.product, null::text as metric, d.hour, g.quantity, 'billing' as unit, d.status, d.reason, d.deadline,
       d.changed_at as since, t.name as destination, d.id as delivery_id, null::uuid as usage_id,
       jsonb_build_array(d.id, s.org, d.product, null, d.hour)::text as item
from postmeter.delivery d
join postmeter.destination t on t.id = d.destination_id
join postmeter.meter m on m.id = d.meter_id
cross join lateral (
    select case when exists (select from postmeter.allocation a where a.delivery_id = d.id)
                  or exists (select from postmeter.ledger_carry k where k.delivery_id = d.id)
                then (select sum(c.quantity) from postmeter.decision c where c.target_delivery_id = d.id and c.verb = 'release')
                else d.quantity end as quantity
) g
left join postmeter.subscription s on s.destination_id = m.destination_id and s.buyer = m.buyer and s.product = d.product
 and s.valid_from < d.hour + interval '1 hour' and (s.valid_until is null or d.hour < s.valid_until)
where d.status not in ('accepted', 'nothing_due', 'released', 'open') and not d.shadow and g.quantity > 0
group by s.org, g.quantity, d.id, t.name
union all
-- what no hour has billed yet since another one deferred it or was released: with the open hour that takes it, if there is one
select 'remittance' as kind, s.org, l.product, null::text as metric, l.hour, m.billable as quantity, 'billing' as unit,
       coalesce(o.status, 'released') as status, null::text as reason, o.deadline, coalesce(o.changed_at, l.changed_at) as since,
       t.name as destination, o.id as delivery_id, null::uuid as usage_id,
       coalesce(jsonb_build_array(o.id, s.org, l.product, null, l.hour, m.id)::text,
                jsonb_build_array('meter', m.id, s.org, l.product)::text) as item
from postmeter.meter m
join postmeter.destination t on t.id = m.destination_id and t.shadow_of is null
left join lateral (
    select d.id, d.status, d.hour, d.product, d.deadline, d.changed_at
    from postmeter.open_hour h
    join postmeter.delivery d on d.id = h.delivery_id
    where d.meter_id = m.id or exists (select from postmeter.part p where p.delivery_id = d.id and p.meter_id = m.id)
    order by d.hour, d.id limit 1
) o on true
cross join lateral (
    select d.product, coalesce(o.hour, d.hour) as hour, d.changed_at
    from postmeter.delivery d where d.meter_id = m.id order by d.hour desc limit 1
) l
left join postmeter.subscription s on s.destination_id = m.destination_id and s.buyer = m.buyer and s.product = l.product
 and s.valid_from < l.hour + interval '1 hour' and (s.valid_until is null or l.hour < s.valid_until)
where m.billable > 0
group by s.org, l.product, l.hour, l.changed_at, m.id, o.id, o.status, o.deadline, o.changed_at, t.name;
comment on view postmeter.unremitted is 'What was not sent or not accepted, and why: waiting and held usage, and remittances in every status but accepted, nothing_due and released (its quantity is with another remittance), by the hour of their usage. What a remittance was given by releases, and one that counts no usage of its own, is listed in billing units, and so is what an hour deferred or a release gave back and no hour has billed yet: with the open hour that takes it, or as released with the last hour of its meter. Without shadows. Quick by org with a range of hour, and by delivery_id.';

-- an hour belongs to whoever is subscribed in it, from its start or not
do $patch$
declare
    definition text := pg_get_viewdef('postmeter.remittance_summary'::regclass);
    changed    text := replace(replace(definition, 's.valid_from <= d.hour', 's.valid_from < (d.hour + ''01:00:00''::interval)'),
                               'os.valid_from <= d.hour', 'os.valid_from < (d.hour + ''01:00:00''::interval)');
begin
    if changed = definition then
        raise exception 'remittance_summary is not as this migration knows it';
    end if;
    execute 'create or replace view postmeter.remittance_summary as ' || changed;
end
$patch$;

insert into postmeter.migration (version, name) values (43, '0043_pre_ends');
