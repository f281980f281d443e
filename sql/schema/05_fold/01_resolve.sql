-- Who buys what where: the catalogue is asked about usage.

create function postmeter.check_resolved(usage_ids uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    bad record;
begin
    select u.event_id, r.reason, r.item into bad
    from (select array_agg(u.org order by u.id) o, array_agg(u.product order by u.id) p,
        array_agg(u.metric order by u.id) m,
                 array_agg(u.account order by u.id) a, array_agg(u.used_at order by u.id) h,
                 array_agg(u.event_id order by u.id) e
          from postmeter.usage u where u.id = any (usage_ids)) g,
         postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r, lateral (select g.e[r.item] as event_id) u
    where r.reason <> 'month_closed' limit 1;  -- late is nobody's mistake: it is recorded, and held
    if found then
        raise exception 'usage %: %', quote_literal(bad.event_id), replace(bad.reason, '_', ' ')
            using errcode = 'PM007', schema = 'postmeter', table = 'outbox',
                  column = case bad.reason when 'unmapped_dimension' then 'metric'
                      else 'org' end, constraint = bad.reason,
                  hint = 'Setting unresolved is refuse: the catalogue must know the usage before it is recorded.';
    end if;
end
$$;
comment on function postmeter.check_resolved(uuid[]) is
    'With setting unresolved = refuse: refuses usage that the catalogue does not resolve (PM007).';

-- the gate of months: what opens hours passes it with others, who closes a month or tells a shadow passes it alone
create function postmeter.month_gate() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    lock table postmeter.closed_month in row share mode;
end
$$;
comment on function postmeter.month_gate() is
    'Passed by whatever opens hours, until its transaction ends: months are neither closed nor opened again '
    'meanwhile.';

create function postmeter.month_gate_alone() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    lock table postmeter.closed_month in exclusive mode;
end
$$;
comment on function postmeter.month_gate_alone() is
    'Passed by who closes a month, opens one again or tells a shadow of a buyer: folds have ended, or wait until '
    'this transaction ends.';

create function postmeter.resolve(
    orgs text[], products text[], metrics text[], accounts text[], hours timestamptz[],
    shadow integer default null
) returns table (item bigint, destination_id integer, subscription_id bigint, buyer text, identity jsonb,
    dimension_id bigint, exemption_id bigint, reason text)
language sql stable
begin atomic
with wanted as materialized (
        select * from unnest(orgs, products, metrics, accounts, hours) with ordinality
                      u(org, product, metric, account, hour, item)
    ), matching as materialized (
        select w.item, min(s.id) as subscription_id, count(*) as subscriptions
        from wanted w
        join postmeter.subscription s on s.org = w.org and s.product = w.product
         and (w.account is null or s.account = w.account)
         and s.valid_from <= w.hour and (s.valid_until is null or w.hour < s.valid_until)
         and case when resolve.shadow is null
                  then s.destination_id not in (select x.id from postmeter.destination x where x.shadow_of is not null)
                  else s.destination_id = resolve.shadow end
        group by w.item
    )
    select w.item, s.destination_id, s.id, s.buyer, s.identity, d.id, e.id,
           case when e.id is not null then null
                when m.item is null then 'no_subscription'
                when m.subscriptions > 1 then 'ambiguous_subscription'
                when s.buyer is null then 'invalid_subscription'
                when d.id is null then 'unmapped_dimension'
                when exists (select from postmeter.closed_month c
                             where c.destination_id = s.destination_id and c.month = postmeter.month_of(w.hour, t.zone))
                    then 'month_closed' end
    from wanted w
    left join matching m on m.item = w.item
    left join postmeter.subscription s on s.id = m.subscription_id
    left join postmeter.destination t on t.id = s.destination_id
    left join lateral (
        select d.id from postmeter.dimension d
        where d.destination_id = s.destination_id and d.product = w.product and d.metric = w.metric
          and d.valid_from <= postmeter.month_of(w.hour, t.zone)
        order by d.valid_from desc limit 1
    ) d on true
    left join lateral (
        select e.id from postmeter.exemption e
        where e.org = w.org and (e.product is null or e.product = w.product)
          and e.valid_from <= w.hour and (e.valid_until is null or w.hour < e.valid_until)
        order by e.id limit 1
    ) e on true;
end;
comment on function postmeter.resolve(text[], text[], text[], text[], timestamptz[], integer) is
    'For each org, product, metric, account and hour: the subscription and dimension that apply, the exemption, or '
    'the reason why none does; among the live destinations, or at the one shadow that is named. The one home of '
    'that rule.';

create function postmeter.gather_gate() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform postmeter.take_gate('gather_requests');
end
$$;
comment on function postmeter.gather_gate() is
    'One counts request statuses at a time, until the transaction ends: who waits for this waits for nobody''s '
    'status.';

create function postmeter.keep_held(usages uuid[]) returns setof uuid
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select h.usage_id from postmeter.held h where h.usage_id = any (usages) order by h.usage_id for share skip locked
$$;
comment on function postmeter.keep_held(uuid[]) is
    'Keeps held usage held until this transaction ends, as far as nobody is about to return it; which it is. A '
    'fold that holds their corrections then moves with them.';

create function postmeter.held_together(usages uuid[], back boolean) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with asked as materialized (
        select h.usage_id from postmeter.held h where h.usage_id = any (usages)
        union
        select h.corrected_id from postmeter.held h where back and h.usage_id = any (usages)
            and h.corrected_id is not null
    )
    select coalesce(array_agg(h.usage_id order by h.usage_id), '{}')
    from postmeter.held h
    where h.usage_id in (select a.usage_id from asked a) or h.corrected_id in (select a.usage_id from asked a)
$$;
comment on function postmeter.held_together(uuid[], boolean) is
    'Held usages with the held corrections of them; back: and with what they correct themselves. In order, so that '
    'whoever locks them all waits for nobody who waits for him.';

create function postmeter.correction_is_free(corrected uuid, destination integer, hour timestamptz, reason text)
returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- what it corrects says where it goes; while that is held too, it is returned with it
    select not exists (select from postmeter.held o where o.usage_id = corrected)
       and (reason <> 'month_closed' or not exists (
            select from postmeter.closed_month c join postmeter.destination t on t.id = c.destination_id
            where t.id = destination and c.month = postmeter.month_of(correction_is_free.hour, t.zone)))
$$;
comment on function postmeter.correction_is_free(uuid, integer, timestamptz, text) is
    'Whether a held correction is held no longer for a reason of its own.';

create function postmeter.resolved_at(org text, product text, used_at timestamptz) returns timestamptz
language sql stable
begin atomic
select coalesce(max(x.at), postmeter.hour_of(resolved_at.used_at))
    from postmeter.subscription s
    cross join lateral (values (s.valid_from), (s.valid_until)) x(at)
    where s.org = resolved_at.org and s.product = resolved_at.product
      and x.at > postmeter.hour_of(resolved_at.used_at) and x.at <= resolved_at.used_at;
end;
comment on function postmeter.resolved_at(text, text, timestamptz) is
    'The moment for which the catalogue is asked about a usage: the last end or begin of its org''s subscriptions '
    'within its hour that was not after it, else the start of its hour. Usages with the same moment are resolved '
    'alike.';

create function postmeter.plausible(orgs text[], products text[], metrics text[], dimensions bigint[])
returns table (item bigint, bound numeric, beyond text, is_usual_kept boolean, known numeric)
language sql stable
begin atomic
select g.item, least(d.max_quantity, u.bound),
           case when u.bound is null or d.max_quantity <= u.bound then 'max_quantity' else 'times_usual' end,
           d.times_usual is not null, u.known
    from unnest(orgs, products, metrics, dimensions) with ordinality g(org, product, metric, dimension_id, item)
    cross join (select postmeter.this_week() as week) w
    join postmeter.dimension d on d.id = g.dimension_id
    left join lateral (
        -- what usage can express: at most 15 digits after the point, and 13 before it
        select case when min(x.week) < w.week
            then trunc(least(max(x.largest) * d.times_usual, 10000000000000), 15) end as bound,
               max(x.largest) filter (where x.week = w.week) as known
        from postmeter.usual x
        where x.org = g.org and x.product = g.product and x.metric = g.metric and x.week between w.week - 28 and w.week
    ) u on d.times_usual is not null
    where d.max_quantity is not null or d.times_usual is not null;
end;
comment on function postmeter.plausible(text[], text[], text[], bigint[]) is
    'For each org, product, metric and dimension with a limit: beyond which quantity a usage is implausible (null: '
    'nothing bounds it yet), which limit that is, whether the usual is kept, and the largest of this week so far. '
    'The one home of that rule.';
