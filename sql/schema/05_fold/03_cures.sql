-- Held usage goes back to the outbox.

create function postmeter.return_held(usage_ids uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    family   uuid[] := postmeter.held_together(usage_ids, true);
    returned bigint;
begin
    perform 1 from postmeter.held h where h.usage_id = any (family) order by h.usage_id for update;
    -- a later statement: it sees the corrections that a fold has held meanwhile
    family := postmeter.held_together(usage_ids, true);
    with cured as (
        delete from postmeter.held h where h.usage_id = any (family) returning h.usage_id
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
comment on function postmeter.return_held(uuid[]) is
    'Returns held usage to the outbox, with its corrections and what it corrects.';

create function postmeter.return_cured(most integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    cured uuid[];
begin
    with waiting as materialized (
        select h.* from postmeter.held h
        where h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
            'month_closed')
        for update skip locked
    ), kinds as materialized (
        select w.org, w.product, w.metric, w.account, w.hour, w.reason, row_number() over () as item
        from waiting w where w.corrected_id is null group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p,
            array_agg(k.metric order by k.item) m,
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
    cured := coalesce(cured, '{}') || array(
        select h.usage_id from postmeter.held h
        where h.corrected_id is not null
          and h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
              'month_closed')
          and postmeter.correction_is_free(h.corrected_id, h.destination_id, h.hour, h.reason)
        limit most);
    return postmeter.return_held(cured);
end
$$;
comment on function postmeter.return_cured(integer) is
    'Sends back to the outbox held usage whose reason no longer holds. A catalogue change calls it; maintenance '
    'calls it too, since a fold and a catalogue change can miss each other.';

create function postmeter.return_cured_usage() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    first uuid[] := array(
        select h.usage_id from postmeter.held h
        where h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
            'month_closed')
        order by h.usage_id limit 1000);
begin
    perform postmeter.return_cured_of(first);
    if cardinality(first) = 1000 then
        insert into postmeter.cure default values;
    end if;
    return null;
end
$$;
comment on function postmeter.return_cured_usage() is
    'Sends held usage back to the outbox that a change of the catalogue cures: of a thousand at once; where more '
    'is held, maintenance goes on with the rest.';
create trigger cure_held after insert or delete or update on postmeter.subscription
    for each statement execute function postmeter.return_cured_usage();
create trigger cure_held after insert or delete or update on postmeter.dimension
    for each statement execute function postmeter.return_cured_usage();
create trigger cure_held after insert or delete or update on postmeter.exemption
    for each statement execute function postmeter.return_cured_usage();

-- held usage is asked about as fold asks about it
create function postmeter.return_cured_of(usages uuid[]) returns bigint
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
          and h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
              'month_closed')
        for update of h skip locked
    ), kinds as materialized (
        -- a correction has no time of its own: it is held with what it corrects, or until its month is open
        select w.org, w.product, w.metric, w.account, w.at, w.reason, row_number() over () as item
        from waiting w where w.corrected_id is null group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p,
            array_agg(k.metric order by k.item) m,
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
          and h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
              'month_closed')
          and postmeter.correction_is_free(h.corrected_id, h.destination_id, h.hour, h.reason));
    return postmeter.return_held(cured);
end
$$;
comment on function postmeter.return_cured_of(uuid[]) is
    'Sends back to the outbox those of these held usages whose reason no longer holds; what another session holds '
    'is passed over. Returns how many.';

create function postmeter.return_plausible_of(usages uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    free uuid[];
begin
    with waiting as materialized (
        select h.*, coalesce(postmeter.resolved_at(h.org, h.product, u.used_at), h.hour) as at
        from postmeter.held h
        left join postmeter.usage u on u.id = h.usage_id
        -- a correction is returned with what it corrects
        where h.usage_id = any (usages) and h.reason = 'implausible' and h.corrected_id is null
        for update of h skip locked
    ), kinds as materialized (
        select w.org, w.product, w.metric, w.account, w.at, row_number() over () as item from waiting w
            group by 1, 2, 3, 4, 5
    ), given as (
        select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p,
            array_agg(k.metric order by k.item) m,
               array_agg(k.account order by k.item) a, array_agg(k.at order by k.item) h
        from kinds k
    ), resolved as materialized (
        select k.*, r.dimension_id, r.exemption_id
        from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r join kinds k on k.item = r.item
        where r.reason is null
    ), limited as materialized (
        select p.item, p.bound, p.is_usual_kept
        from (select array_agg(r.org order by r.item) o, array_agg(r.product order by r.item) p,
            array_agg(r.metric order by r.item) m,
                     array_agg(r.dimension_id order by r.item) d, array_agg(r.item order by r.item) i
              from resolved r where r.exemption_id is null) g,
             postmeter.plausible(g.o, g.p, g.m, g.d) x
             cross join lateral (select g.i[x.item] as item, x.bound, x.is_usual_kept) p
    )
    select array_agg(w.usage_id) into free
    from waiting w
    join resolved r on r.org = w.org and r.product = w.product and r.metric = w.metric
     and r.account is not distinct from w.account and r.at = w.at
    left join limited l on l.item = r.item
    where l.item is null or w.quantity <= l.bound
       -- a usual that is forgotten lets nothing go that it held
       or l.bound is null and not (l.is_usual_kept and w.beyond = 'times_usual');
    return postmeter.return_held(coalesce(free, '{}'));
end
$$;
comment on function postmeter.return_plausible_of(uuid[]) is
    'Sends back to the outbox those of these implausible usages, with their corrections, that no limit of today''s '
    'catalogue holds; what another session holds is passed over. Returns how many.';

create function postmeter.return_plausible_usage() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    first uuid[] := array(select h.usage_id from postmeter.held h where h.reason = 'implausible'
        order by h.usage_id limit 1000);
begin
    if cardinality(first) > 0 then
        perform postmeter.return_plausible_of(first);
    end if;
    if cardinality(first) = 1000 then
        insert into postmeter.cure default values;
    end if;
    return null;
end
$$;
comment on function postmeter.return_plausible_usage() is
    'Trigger: sends back to the outbox what a limit held that is raised or gone: of a thousand at once; where more '
    'is held, maintenance goes on with the rest.';
create trigger cure_implausible after insert or delete or update on postmeter.dimension
    for each statement execute function postmeter.return_plausible_usage();
