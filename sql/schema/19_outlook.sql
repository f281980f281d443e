-- What a fold would do now.

create function postmeter.usage_outlook(
    orgs text[], products text[], metrics text[], accounts text[], moments timestamptz[], quantities numeric[]
) returns table (item bigint, fate text, reason text, destination text, hour timestamptz, delivery_id bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with given as materialized (
        select g.*, postmeter.hour_of(g.used_at) as own_hour, postmeter.resolved_at(g.org, g.product, g.used_at) as at
        from unnest(orgs, products, metrics, accounts, moments, quantities) with ordinality
             g(org, product, metric, account, used_at, quantity, item)
    ), kind as materialized (
        select k.*, row_number() over () as nth
        from (select distinct g.org, g.product, g.metric, g.account, g.own_hour, g.at from given g) k
    ), resolved as materialized (
        select r.*
        from (select array_agg(k.org order by k.nth) as o, array_agg(k.product order by k.nth) as p,
                     array_agg(k.metric order by k.nth) as m, array_agg(k.account order by k.nth) as a,
                     array_agg(k.at order by k.nth) as h
              from kind k) w
        cross join lateral postmeter.resolve(w.o, w.p, w.m, w.a, w.h) r
    ), limits as materialized (
        select (select array_agg(r.item order by r.item) from resolved r where r.dimension_id is not null) as items,
               (select array_agg(k.org order by k.nth) from kind k join resolved r on r.item = k.nth
                   where r.dimension_id is not null) as o,
               (select array_agg(k.product order by k.nth) from kind k join resolved r on r.item = k.nth
                   where r.dimension_id is not null) as p,
               (select array_agg(k.metric order by k.nth) from kind k join resolved r on r.item = k.nth
                   where r.dimension_id is not null) as m,
               (select array_agg(r.dimension_id order by r.item) from resolved r where r.dimension_id is not null) as d
    ), bounded as materialized (
        select l.items[p.item] as nth, p.bound from limits l cross
            join lateral postmeter.plausible(l.o, l.p, l.m, l.d) p
    ), placed as materialized (
        select k.*, r.exemption_id, r.reason, t.name as destination, t.late_policy, m.id as meter_id, r.identity,
            b.bound,
               d.id as delivery_id,
               -- Where the key's own meter is there, counts for itself, and nothing was lost, its hours alone decide.
               m.id is not null and t.late_policy <> 'part' and s.contract is null
               and not exists (select from postmeter.contract_member c where c.subscription_id = s.id)
               and not exists (select from postmeter.timeline_break) as is_certain,
               case when r.reason is not null or r.exemption_id is not null then false
                    when d.id is not null then d.status <> 'open'
                    else postmeter.deadline_of(t.id, r.buyer, k.own_hour) < (select postmeter.clock()) end as is_late
        from kind k
        join resolved r on r.item = k.nth
        left join postmeter.destination t on t.id = r.destination_id
        left join postmeter.subscription s on s.id = r.subscription_id
        left join postmeter.dimension n on n.id = r.dimension_id
        left join postmeter.meter m on m.destination_id = t.id and m.buyer = r.buyer and m.dimension = n.name
         and m.month = postmeter.month_of(k.own_hour, t.zone)
        left join postmeter.delivery d on d.meter_id = m.id and d.hour = k.own_hour
        left join bounded b on b.nth = k.nth
    ), told as materialized (
        select p.*, w.hour as late_hour, l.id as late_delivery_id
        from placed p
        -- fenced: asked of what is late, and of nothing else
        left join lateral (select x.* from postmeter.target_way_as(p.meter_id, p.identity) x
                           where p.is_late and p.is_certain offset 0) w on true
        left join postmeter.delivery l on l.meter_id = w.key_meter_id and l.hour = w.hour
    ), judged as materialized (
        select g.item, g.own_hour, t.destination, t.delivery_id, t.late_hour, t.late_delivery_id,
               case when t.exemption_id is not null then 'exempt'
                    when t.reason is not null then t.reason
                    when g.quantity > t.bound then 'implausible'
                    when not t.is_late then 'counted'
                    when t.late_hour is not null or not t.is_certain then 'late'
                    -- an hour that was never opened is opened to expire, unless its destination holds what is late
                    when t.delivery_id is null and t.late_policy <> 'hold' then 'expires'
                    else 'too_late' end as word
        from given g
        join told t on (t.org, t.product, t.metric, t.own_hour, t.at) = (g.org, g.product, g.metric, g.own_hour, g.at)
                   and t.account is not distinct from g.account
    )
    select j.item,
           case when j.word in ('exempt', 'counted', 'late', 'expires') then j.word else 'held' end,
           case when j.word not in ('exempt', 'counted', 'late', 'expires') then j.word end,
           j.destination,
           case j.word when 'late' then j.late_hour else j.own_hour end,
           case j.word when 'late' then j.late_delivery_id when 'counted' then j.delivery_id end
    from judged j
    order by j.item
$$;
comment on function postmeter.usage_outlook(text[], text[], text[], text[], timestamptz[], numeric[]) is
    'What a fold would do now with usage of these orgs, products, metrics, accounts, times and quantities, one row '
    'each: counted (in its own hour), late (its own hour is cut; with the hour that takes it, or without one where '
    'only the fold can tell), expires (its own hour can be sent no more, and no other takes it), held (with the '
    'reason) or exempt; with the destination, the hour, and the remittance if it exists. A prediction: the '
    'catalogue, the clock and other usage may change before the fold. It locks nothing.';

create function postmeter.correction_outlook(corrected uuid)
returns table (fate text, reason text, destination text, hour timestamptz, delivery_id bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- a correction goes where its usage is; while that waits, only the fold can tell
    select 'held', h.reason, t.name, h.hour, null::bigint
    from postmeter.held h left join postmeter.destination t on t.id = h.destination_id
    where h.usage_id = corrected
    union all
    select case when c.month is not null then 'held' else 'counted' end,
           case when c.month is not null then 'month_closed' end, t.name, a.hour, case when c.month is null
               then d.id end
    from postmeter.allocation a
    join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
    join postmeter.delivery d on d.id = a.delivery_id
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    join postmeter.meter m on m.id = mm.meter_id
    left join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
    where a.usage_id = corrected
    union all
    select 'exempt', null, null, null, null from postmeter.exempted x where x.usage_id = corrected
$$;
comment on function postmeter.correction_outlook(uuid) is
    'What a fold would do now with a correction of this usage: held with it, or because its month is closed; '
    'counted with it; exempt with it. No row while that usage waits, or was given up.';

create function postmeter.usage_warnings(usages uuid[])
returns table (usage_id uuid, fate text, reason text, destination text, hour timestamptz, delivery_id bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with asked as materialized (
        select u.*, a.usage_id is not null as is_allocated, a.delivery_id, a.hour as own_hour,
            h.usage_id is not null as is_held,
               h.reason, h.destination_id, h.hour as held_hour
        from unnest(usages) g(id)
        -- fences: look-ups by key, whatever the statistics say
        cross join lateral (select y.* from postmeter.usage y where y.id = g.id offset 0) u
        left join lateral (
            select y.* from postmeter.allocation y
            where y.usage_id = g.id and y.destination_id in (select t.id from postmeter.destination t
                where t.shadow_of is null)
            offset 0) a on true
        left join lateral (select y.* from postmeter.held y where y.usage_id = g.id offset 0) h on true
    ), waiting as materialized (
        select array_agg(w.id order by w.id) as ids, array_agg(w.org order by w.id) as orgs,
               array_agg(w.product order by w.id) as products, array_agg(w.metric order by w.id) as metrics,
               array_agg(w.account order by w.id) as accounts, array_agg(w.used_at order by w.id) as moments,
               array_agg(w.quantity order by w.id) as quantities
        from asked w
        -- a correction goes where its usage stands
        where not w.is_allocated and not w.is_held and w.corrects is null
          and not exists (select from postmeter.exempted x where x.usage_id = w.id)
          and not exists (select from postmeter.usage_written_off x where x.usage_id = w.id)
    )
    select w.ids[o.item], o.fate, o.reason, o.destination, o.hour, o.delivery_id
    from waiting w
    cross join lateral postmeter.usage_outlook(w.orgs, w.products, w.metrics, w.accounts, w.moments, w.quantities) o
    where o.fate in ('late', 'held', 'expires')
    union all
    select a.id, o.fate, o.reason, o.destination, o.hour, o.delivery_id
    from asked a
    cross join lateral (select x.* from postmeter.correction_outlook(a.corrected_id) x where x.fate = 'held' offset 0) o
    where a.corrects is not null and not a.is_allocated and not a.is_held
    union all
    select a.id, 'held', a.reason, t.name, a.held_hour, null
    from asked a left join postmeter.destination t on t.id = a.destination_id
    where a.is_held
    union all
    select a.id, 'late', null, t.name, d.hour, d.id
    from asked a
    join postmeter.delivery d on d.id = a.delivery_id
    join postmeter.destination t on t.id = d.destination_id
    -- what corrects counts at once where its usage does
    where a.is_allocated and d.hour <> a.own_hour and a.corrects is null
$$;
comment on function postmeter.usage_warnings(uuid[]) is
    'Of these usages, those that are held or counted in another hour than their own, or will be when they are '
    'folded (usage_outlook): fate late or held, with the reason, the destination, the hour and the remittance as '
    'far as they are known. It locks nothing.';

create function postmeter.foretell_verdict(
    usage jsonb, out verdict text, out usage_id uuid, out error_code text, out field text, out message text
) returns record
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
declare
    settings postmeter.setting;
    now      timestamptz := postmeter.clock();
    standing postmeter.usage;
    fault    text;
    differ   text[];
    problem  text;
    named    text;
    quantity numeric;
    used_at  timestamptz;
begin
    verdict := 'refused';
    select f.error_code, f.field, f.message into error_code, field, message from postmeter.usage_text_refusal(usage) f;
    if error_code is not null then
        return;
    end if;
    select s.* into settings from postmeter.setting s;
    -- what a cast refuses is told by the field at hand: messages come in the server's language
    field := 'quantity';
    quantity := postmeter.usage_quantity(usage -> 'quantity');
    field := 'used_at';
    used_at := postmeter.usage_time(usage ->> 'used_at');
    field := null;
    fault := postmeter.usage_fault(
        usage ->> 'source', usage ->> 'event_id', usage ->> 'org', usage ->> 'product', usage ->> 'metric', quantity,
            used_at,
        usage ->> 'account', usage ->> 'corrects', usage ->> 'request_id', usage ->> 'traceparent',
        coalesce(nullif(usage -> 'attributes', 'null'), '{}'),
        greatest((now at time zone 'UTC' - settings.usage_age_max) at time zone 'UTC', settings.identities_from),
        (now at time zone 'UTC' + settings.usage_lead_max) at time zone 'UTC');
    if fault is not null then
        perform postmeter.refuse_usage(fault, usage ->> 'event_id');
    end if;
    usage_id := postmeter.usage_of(usage ->> 'source', usage ->> 'event_id');
    if usage_id is not null then
        select u.* into standing from postmeter.usage u where u.id = usage_id;
        differ := case when standing.id is not null then array_remove(array[
            case when standing.org <> usage ->> 'org' then 'org' end,
            case when standing.product <> usage ->> 'product' then 'product' end,
            case when standing.metric <> usage ->> 'metric' then 'metric' end,
            case when standing.quantity <> quantity then 'quantity' end,
            case when standing.used_at <> used_at then 'used_at' end,
            case when standing.account is distinct from usage ->> 'account' then 'account' end,
            case when standing.corrects is distinct from usage ->> 'corrects' then 'corrects' end], null) end;
        if differ is null or differ <> '{}' then
            perform postmeter.refuse_other_content(usage ->> 'source', usage ->> 'event_id', differ);
        end if;
        verdict := 'repeated';
        return;
    end if;
    if usage ->> 'corrects' is not null then
        select u.* into standing from postmeter.usage u
        where u.id = postmeter.usage_of(usage ->> 'source', usage ->> 'corrects');
        problem := case
            when standing.id is null then 'unknown'
            when standing.corrects is not null then 'correction'
            when (standing.org, standing.product, standing.metric, standing.account)
                 is distinct from (usage ->> 'org', usage ->> 'product', usage ->> 'metric', usage ->> 'account')
                     then 'meter'
            when date_trunc('month', standing.used_at, 'UTC') <> date_trunc('month', used_at, 'UTC') then 'month'
            when standing.quantity + quantity
                 + coalesce((select sum(x.quantity) from postmeter.usage x
                             where x.corrected_identity
                                 = postmeter.usage_identity_of(standing.source, standing.event_id)
                               and x.corrected_id = standing.id), 0) < 0 then 'below_zero' end;
        if problem is not null then
            perform postmeter.refuse_correction(usage ->> 'source', usage ->> 'event_id', usage ->> 'corrects',
                problem);
        end if;
    end if;
    verdict := 'recorded';
exception when others then
    get stacked diagnostics error_code = returned_sqlstate, named = column_name, message = message_text;
    if error_code !~ '^(22|23|PM)' then
        raise;
    end if;
    verdict := 'refused';
    usage_id := null;
    if field is not null then
        message := format('usage %L: %s: %s', usage ->> 'event_id', field, message);
    end if;
    field := coalesce(nullif(named, ''), field);
end
$$;
comment on function postmeter.foretell_verdict(jsonb) is
    'What record_usage_batch would answer to one usage now: recorded, repeated (with the id of what stands) or '
    'refused (with SQLSTATE, field and sentence). It writes and locks nothing.';

create function postmeter.foretell_usage(usages jsonb)
returns table (item integer, verdict text, usage_id uuid, error_code text, field text, message text, fate text,
    reason text, destination text, hour timestamptz, delivery_id bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with told as materialized (
        select e.ordinality::integer as item, e.usage, f.*
        from jsonb_array_elements(usages) with ordinality e(usage, ordinality)
        cross join lateral postmeter.foretell_verdict(e.usage) f
    ), fresh as materialized (
        -- a correction goes where its usage stands
        select array_agg(t.item order by t.item) as items, array_agg(t.usage ->> 'org' order by t.item) as orgs,
               array_agg(t.usage ->> 'product' order by t.item) as products,
               array_agg(t.usage ->> 'metric' order by t.item) as metrics,
               array_agg(t.usage ->> 'account' order by t.item) as accounts,
               array_agg(postmeter.usage_time(t.usage ->> 'used_at') order by t.item) as moments,
               array_agg(postmeter.usage_quantity(t.usage -> 'quantity') order by t.item) as quantities
        from told t where t.verdict = 'recorded' and t.usage ->> 'corrects' is null
    ), outlook as materialized (
        select f.items[o.item] as item, o.fate, o.reason, o.destination, o.hour, o.delivery_id,
               s.unresolved = 'refuse' and o.reason in ('no_subscription', 'ambiguous_subscription',
                   'invalid_subscription',
                                                        'unmapped_dimension') as is_refused
        from fresh f
        cross join lateral postmeter.usage_outlook(f.orgs, f.products, f.metrics, f.accounts, f.moments, f.quantities) o
        cross join postmeter.setting s
    )
    select t.item, case when o.is_refused then 'refused' else t.verdict end, t.usage_id,
           case when o.is_refused then 'PM007' else t.error_code end,
           case when o.is_refused then case o.reason when 'unmapped_dimension' then 'metric' else 'org' end
               else t.field end,
           case when o.is_refused then format('usage %L: %s', t.usage ->> 'event_id', replace(o.reason, '_', ' '))
               else t.message end,
           case when not o.is_refused then o.fate end, case when not o.is_refused then o.reason end,
           case when not o.is_refused then o.destination end, case when not o.is_refused then o.hour end,
           case when not o.is_refused then o.delivery_id end
    from told t
    left join lateral (
        select o.fate, o.reason, o.destination, o.hour, o.delivery_id, o.is_refused from outlook o where o.item = t.item
        union all
        select c.fate, c.reason, c.destination, c.hour, c.delivery_id, false
        from postmeter.correction_outlook(postmeter.usage_of(t.usage ->> 'source', t.usage ->> 'corrects')) c
        where t.verdict = 'recorded' and t.usage ->> 'corrects' is not null
    ) o on true
    order by t.item
$$;
comment on function postmeter.foretell_usage(jsonb) is
    'What would become of a batch of usages if it was recorded now, one row each: the verdict of '
    'record_usage_batch, and for what would be recorded what a fold would do with it (usage_outlook). A '
    'prediction: each usage is looked at alone. It writes and locks nothing.';
