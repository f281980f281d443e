-- Shadows: the same usage counted beside the live destination.

create table postmeter.shadow_usage (
    destination_id integer          not null,
    usage_id       uuid             not null,
    org            text             not null,
    product        text collate "C" not null,
    metric         text             not null,
    account        text,
    quantity       numeric          not null,
    hour           timestamptz      not null,
    reason         text
        check (reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
            'too_late', 'month_closed', 'poison', 'exempt')),
    given_at       timestamptz      not null default postmeter.clock(),
    corrected_id   uuid,
    primary key (destination_id, usage_id)
);
create index shadow_usage_waiting on postmeter.shadow_usage (destination_id, usage_id) where reason is null;
create index shadow_usage_uncounted on postmeter.shadow_usage (destination_id, org, product) where reason is not null;
comment on table postmeter.shadow_usage is
    'Usage that was given to a shadow and that it has not counted: it waits, or there is a reason. Given by the '
    'fold of the live destination, once per usage; gone when it is allocated.';
comment on column postmeter.shadow_usage.destination_id is 'The shadow.';
comment on column postmeter.shadow_usage.usage_id is 'The usage.';
comment on column postmeter.shadow_usage.org is 'Its org.';
comment on column postmeter.shadow_usage.product is 'Its product.';
comment on column postmeter.shadow_usage.metric is 'Its metric.';
comment on column postmeter.shadow_usage.account is 'Its account.';
comment on column postmeter.shadow_usage.quantity is 'Its quantity.';
comment on column postmeter.shadow_usage.hour is 'Its hour.';
comment on column postmeter.shadow_usage.reason is
    'Why the shadow does not count it (the reasons of held, and exempt); null: it waits to be counted.';
comment on column postmeter.shadow_usage.given_at is 'Since when.';
comment on column postmeter.shadow_usage.corrected_id is
    'The usage that this one corrects; it counts where that counts at this shadow.';

create function postmeter.lock_out_folds() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- folds that began before have ended, and those that begin now wait until this is committed: from then on, and not
    -- before, usage is given to the shadow
    perform postmeter.month_gate_alone()
    from postmeter.destination t where t.id = new.destination_id and t.shadow_of is not null;
    return new;
end
$$;
comment on function postmeter.lock_out_folds() is
    'Trigger of subscription: a shadow is told of a buyer between folds, never during one.';
create trigger shadow_told before insert or update of org, product, account, destination_id, valid_from,
    valid_until on postmeter.subscription
    for each row
    execute function postmeter.lock_out_folds();

create function postmeter.check_shadow_outcome() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    bad text;
begin
    select o.outcome into bad from postmeter.outcome o
    where o.attempt_id = old.attempt_id and o.outcome not in ('dry_run', 'too_old', 'handed_back');
    if found then
        raise exception 'remittance % belongs to a shadow, and an outcome % would say that it was sent', new.id, bad
            using errcode = 'PM015', schema = 'postmeter', table = 'outcome', column = 'outcome',
                constraint = 'shadow_never_calls';
    end if;
    return null;
end
$$;
comment on function postmeter.check_shadow_outcome() is
    'Trigger of delivery: an attempt of a shadow ends as dry_run, too_old or handed_back; whatever tells of a call '
    'is refused (PM015).';
create trigger shadow_never_calls after update on postmeter.delivery
    for each row
    when (new.shadow and old.status = 'in_flight' and new.status <> 'in_flight')
    execute function postmeter.check_shadow_outcome();

create function postmeter.return_shadow(most integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    of       integer;
    changed  bigint;
    returned bigint := 0;
begin
    for of in select t.id from postmeter.destination t where t.shadow_of is not null loop
        with kinds as materialized (
            select g.org, g.product, g.metric, g.account, g.hour, g.reason, row_number() over () as item
            from postmeter.shadow_usage g
            where g.destination_id = of
              and g.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension',
                  'invalid_subscription', 'month_closed')
            group by 1, 2, 3, 4, 5, 6
        ), given as (
            select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p,
                array_agg(k.metric order by k.item) m,
                   array_agg(k.account order by k.item) a, array_agg(k.hour order by k.item) h
            from kinds k
        ), cured as materialized (
            select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h, of) r join kinds k on k.item = r.item
            where r.reason is distinct from k.reason
        ), chosen as materialized (
            -- nothing is locked but what changes
            select g.usage_id
            from postmeter.shadow_usage g
            join cured k on k.org = g.org and k.product = g.product and k.metric = g.metric
             and k.account is not distinct from g.account and k.hour = g.hour and k.reason = g.reason
            where g.destination_id = of and g.reason is not null
            limit most
            for update of g skip locked
        )
        update postmeter.shadow_usage u
        set reason = null
        from chosen c
        where u.destination_id = of and u.usage_id = c.usage_id;
        get diagnostics changed = row_count;
        returned := returned + changed;
    end loop;
    return returned;
end
$$;
comment on function postmeter.return_shadow(integer) is
    'Lets shadows count usage whose reason no longer holds. Maintenance calls it, beside the live work: an edit of '
    'the catalogue does not wait for it.';

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
            select u.*, coalesce(postmeter.resolved_at(u.org, u.product, x.used_at), u.hour) as at
            from postmeter.shadow_usage u
            -- a correction is asked about as what it corrects
            left join postmeter.usage x on x.id = coalesce(u.corrected_id, u.usage_id)
            where u.destination_id = shadow
              and u.usage_id in (select g.usage_id from unnest(shadows, usages) g(of, usage_id) where g.of = shadow)
              and u.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension',
                  'invalid_subscription', 'month_closed')
            order by u.usage_id
            for update of u skip locked
        ), kinds as materialized (
            select w.org, w.product, w.metric, w.account, w.at, w.reason, row_number() over () as item
            from waiting w group by 1, 2, 3, 4, 5, 6
        ), given as (
            select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p,
                array_agg(k.metric order by k.item) m,
                   array_agg(k.account order by k.item) a, array_agg(k.at order by k.item) h
            from kinds k
        ), cured as materialized (
            select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h, shadow) r
                join kinds k on k.item = r.item
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
comment on function postmeter.return_shadow_of(integer[], uuid[]) is
    'Lets shadows count those of these usages (each with the shadow that did not count it) whose reason no longer '
    'holds; what another session holds is passed over. Returns how many.';
