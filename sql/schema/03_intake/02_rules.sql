-- The rules of intake: what a usage must be, and what a correction may be.

-- a stored value may be compressed: what counts is its text
create function postmeter.usage_fault(
    source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamptz,
    account text, corrects text, request_id text, traceparent text, attributes jsonb, earliest timestamptz,
    latest timestamptz
) returns text
language sql stable parallel safe
begin atomic
select case
        when source = '' or octet_length(source) > 255 then 'source_length'
        when event_id = '' or octet_length(event_id) > 255 then 'event_id_length'
        when org = '' or octet_length(org) > 255 then 'org_length'
        when product = '' or octet_length(product) > 255 then 'product_length'
        when metric = '' or octet_length(metric) > 255 then 'metric_length'
        when octet_length(account) not between 1 and 255 then 'account_length'
        when octet_length(corrects) not between 1 and 255 then 'corrects_length'
        when octet_length(request_id) not between 1 and 255 then 'request_id_length'
        when octet_length(traceparent) not between 1 and 255 then 'traceparent_length'
        when not (quantity between -1000000000000 and 1000000000000) then 'quantity_range'
        when scale(quantity) > 15 and scale(trim_scale(quantity)) > 15 then 'quantity_decimals'
        when quantity < 0 and corrects is null then 'quantity_negative'
        when quantity >= 0 and corrects is not null then 'corrects_negative'
        when used_at < earliest then 'used_at_too_old'
        when used_at > latest then 'used_at_too_far_ahead'
        when jsonb_typeof(attributes) <> 'object' or octet_length(attributes::text) > 8192 then 'attributes_object'
    end;
end;
comment on function postmeter.usage_fault(
    text, text, text, text, text, numeric, timestamptz, text, text, text, text, jsonb, timestamptz, timestamptz
) is
    'Name of the first rule that a usage breaks, or null. The rules of intake, in one place; docs/integrate.md '
    'lists them.';

create function postmeter.refuse_usage(fault text, event_id text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    field text := substring(fault
        from
        '^(source|event_id|org|product|metric|account|corrects|request_id|traceparent|quantity|used_at|attributes)_');
    settings postmeter.setting;
begin
    select * into settings from postmeter.setting;
    raise exception 'usage %: % %', coalesce(quote_literal(event_id), '?'), field, case
        when fault like '%_length' then 'must have 1 to 255 bytes'
        when fault = 'quantity_range' then 'must be a number between -10^12 and 10^12'
        when fault = 'quantity_decimals'
            then 'has more than 15 decimals; round it at the source, where its meaning is known'
        when fault = 'quantity_negative' then 'is negative; a correction must say in "corrects" which event it corrects'
        when fault = 'corrects_negative' then 'is given, so the quantity must be below zero'
        when fault = 'used_at_too_old'
            then format('is before %s: usage of that age is no longer recognised if repeated',
                to_char(greatest((postmeter.clock() at time zone 'UTC' - settings.usage_age_max) at time zone 'UTC',
                        settings.identities_from) at time zone 'UTC',
                        'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
        when fault = 'used_at_too_far_ahead'
            then format('is more than %s ahead of the database''s clock', settings.usage_lead_max)
        else 'must be a JSON object of at most 8 KiB' end
        using errcode = case fault when 'used_at_too_old' then 'PM005' when 'used_at_too_far_ahead' then 'PM006'
            else 'PM001' end,
              schema = 'postmeter', table = 'outbox', column = field, constraint = fault;
end
$$;
comment on function postmeter.refuse_usage(text, text) is
    'Raises the error for a fault named by usage_fault: PM001, PM005 or PM006, with column and constraint.';

create function postmeter.check_corrections(corrected uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
    set plan_cache_mode = force_generic_plan
as $$
declare
    corrected_ids uuid[];
    bad           record;
begin
    -- corrected: the usages that correct; those that only repeat an earlier one are not in postmeter.usage
    corrected_ids := array(select distinct u.corrected_id from postmeter.usage u
                           where u.id = any (corrected) and u.corrected_id is not null);
    perform postmeter.lock_corrected(corrected_ids);
    -- a later statement than the last lock, which sees what others committed while we waited;
    -- scalar and lateral sub-selects with a fence: look-ups by key, which no plan of another day turns into a scan
    select p.* into bad
    from (
        select c.id, c.source, c.event_id, c.corrects, case
            -- itself, or earlier corrections of it, would be missing in the sum
            when c.corrected_id is not null and exists (
                select from postmeter.ledger_drop d
                where d.month >= date_trunc('month', postmeter.moment_of(c.corrected_id) at time zone 'UTC')::date)
                then 'dropped'
            when o.id is null then 'unknown'
            when o.corrects is not null then 'correction'
            when (o.org, o.product, o.metric, o.account) is distinct from (c.org, c.product, c.metric, c.account)
                then 'meter'
            when date_trunc('month', o.used_at, 'UTC') <> date_trunc('month', c.used_at, 'UTC') then 'month'
            end as problem
        from (select u.id, u.source, u.event_id, u.corrects, u.org, u.product, u.metric, u.account, u.used_at,
                     u.corrected_id
              from postmeter.usage u where u.id = any (corrected) offset 0) c
        left join lateral (select u.* from postmeter.usage u where u.id = c.corrected_id offset 0) o on true
    ) p
    where p.problem is not null
    order by p.id desc
    limit 1;
    if not found then
        select c.id, c.source, c.event_id, c.corrects, 'below_zero' as problem into bad
        from (select k.id as corrected_id,
                     (select o.quantity
                             + (select sum(x.quantity) from postmeter.usage x
                                where x.corrected_identity = postmeter.usage_identity_of(o.source, o.event_id)
                                  and x.corrected_id = o.id)
                      from postmeter.usage o where o.id = k.id) as rest
              from unnest(corrected_ids) k(id) offset 0) s
        join lateral (select u.* from postmeter.usage u
                      where u.id = any (corrected) and u.corrected_id = s.corrected_id
                      order by u.id desc limit 1) c on true
        where s.rest < 0
        limit 1;
    end if;
    if found then
        perform postmeter.refuse_correction(bad.source, bad.event_id, bad.corrects, bad.problem);
    end if;
end
$$;
comment on function postmeter.check_corrections(uuid[]) is
    'Given the ids of usages that correct: refuses corrections of the unknown (PM003), below zero (PM004), of '
    'another meter or month, or of what may have been dropped (PM001). Locks the identities of what they correct '
    'in sorted order.';

create function postmeter.refuse_other_content(source text, event_id text, fields text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'usage % of source % was recorded before with other content: %',
        quote_literal(event_id), quote_literal(source), case
            when fields is null then 'its month of the ledger was dropped'
            else array_to_string(fields, ', ') || case when cardinality(fields) > 1 then ' differ'
                else ' differs' end end
        using errcode = 'PM002', schema = 'postmeter', table = 'outbox', column = 'event_id',
              constraint = 'usage_identity',
              hint = 'An event id names one usage. Give the new usage a new id, or record a correction.';
end
$$;
comment on function postmeter.refuse_other_content(text, text, text[]) is
    'Raises PM002 for a usage whose identity is known with other content, and names the fields that differ.';

create function postmeter.lock_corrected(usage_ids uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
declare
    sources text[];
    events  text[];
begin
    select array_agg(k.source order by k.source collate "C", k.event_id collate "C"),
           array_agg(k.event_id order by k.source collate "C", k.event_id collate "C")
    into sources, events
    from unnest(usage_ids) n(id)
    cross join lateral (select u.source, u.event_id from postmeter.usage u where u.id = n.id offset 0) k;
    perform 1 from (
        select k.source, k.event_id from unnest(sources, events) with ordinality k(source, event_id, item)
            order by k.item
    ) k
    cross join lateral (select from postmeter.usage_identity i
                        where i.source = k.source and i.event_id = k.event_id for no key update) l;
    perform 1 from (
        select k.source, k.event_id from unnest(sources, events) with ordinality k(source, event_id, item)
            order by k.item
    ) k
    cross join lateral (select from postmeter.usage_identity_before i
                        where i.source = k.source and i.event_id = k.event_id for no key update) l;
    -- a write, not only a lock: under REPEATABLE READ the next correction then fails with 40001 instead of adding up
    -- without the sums that its snapshot hides
    update postmeter.usage_identity i set identity = postmeter.usage_identity_of(k.source, k.event_id)
    from unnest(sources, events) k(source, event_id)
    where i.source = k.source and i.event_id = k.event_id;
    update postmeter.usage_identity_before i set usage_id = i.usage_id
    from unnest(sources, events) k(source, event_id)
    where i.source = k.source and i.event_id = k.event_id;
end
$$;
comment on function postmeter.lock_corrected(uuid[]) is
    'Locks the identities of usages that are corrected, in sorted order, in either generation, and writes them, so '
    'that one correction of a usage is checked at a time.';

create function postmeter.record_known(usages jsonb) returns uuid[]
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
    set plan_cache_mode = force_generic_plan
as $$
declare
    settings postmeter.setting;
    now      timestamptz;
    ids      uuid[];
begin
    select s.* into settings from postmeter.identity_generation g, postmeter.setting s;
    now := coalesce(settings.clock_frozen, clock_timestamp() + settings.clock_shift);
    select array_agg(k.standing order by k.item) into ids
    from (
        select p.item, postmeter.usage_of(p.source, p.event_id) as standing,
               row(p.org, p.product, p.metric, p.quantity, p.used_at, p.account) as content
        from (
            select u.ordinality as item, u.usage ->> 'source' as source, u.usage ->> 'event_id' as event_id,
                   u.usage ->> 'org' as org, u.usage ->> 'product' as product, u.usage ->> 'metric' as metric,
                   postmeter.usage_quantity(u.usage -> 'quantity') as quantity,
                       postmeter.usage_time(u.usage ->> 'used_at') as used_at,
                   u.usage ->> 'account' as account, u.usage ->> 'request_id' as request_id,
                   u.usage ->> 'traceparent' as traceparent,
                   coalesce(nullif(u.usage -> 'attributes', 'null'), '{}') as attributes
            from jsonb_array_elements(usages) with ordinality u(usage, ordinality)
            where postmeter.usage_text_is_plain(u.usage)
            offset 0) p
        where postmeter.usage_fault(p.source, p.event_id, p.org, p.product, p.metric, p.quantity, p.used_at, p.account,
                                    null, p.request_id, p.traceparent, p.attributes,
                                    greatest((now at time zone 'UTC' - settings.usage_age_max) at time zone 'UTC',
                                             settings.identities_from),
                                    (now at time zone 'UTC' + settings.usage_lead_max) at time zone 'UTC') is null
        offset 0) k
    where (select k.content = row(u.org, u.product, u.metric, u.quantity, u.used_at, u.account)
           from postmeter.usage u where u.id = k.standing and u.corrects is null);
    return case when cardinality(ids) = jsonb_array_length(usages) then ids end;
exception when data_exception then
    return null;
end
$$;
comment on function postmeter.record_known(jsonb) is
    'Of a batch in which every usage was recorded before, with the same content, the ids in its order: nothing is '
    'written for it. Null: it is not such a batch.';

create function postmeter.record_new(usages jsonb) returns uuid[]
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
    set plan_cache_mode = force_generic_plan
as $$
declare
    settings postmeter.setting;
    now      timestamptz;
    asked    integer := jsonb_array_length(usages);
    ids      uuid[];
begin
    -- the generation first: what is read with it and after it is no older (postmeter.turn_identities)
    select s.* into settings from postmeter.identity_generation g, postmeter.setting s;
    if not found or asked = 0 or settings.unresolved <> 'hold' then
        return null;
    end if;
    now := coalesce(settings.clock_frozen, clock_timestamp() + settings.clock_shift);
    -- Each step is taken for all of them or for none, identities first: what a batch repeats ends it before anything
    -- else is
    -- written. A sub-select that counts is run whole before the first row of the step that asks it.
    with arrived as materialized (
        select p.*
        from (
            select postmeter.new_id() as id, u.ordinality as item, u.usage, u.usage ->> 'source' as source,
                   u.usage ->> 'event_id' as event_id, u.usage ->> 'org' as org, u.usage ->> 'product' as product,
                   u.usage ->> 'metric' as metric, postmeter.usage_quantity(u.usage -> 'quantity') as quantity,
                   postmeter.usage_time(u.usage ->> 'used_at') as used_at, u.usage ->> 'account' as account,
                   u.usage ->> 'request_id' as request_id, u.usage ->> 'traceparent' as traceparent,
                   coalesce(nullif(u.usage -> 'attributes', 'null'), '{}') as attributes
            from jsonb_array_elements(usages) with ordinality u(usage, ordinality)
            where postmeter.usage_text_is_plain(u.usage)
            offset 0) p
        where postmeter.usage_fault(p.source, p.event_id, p.org, p.product, p.metric, p.quantity, p.used_at, p.account,
                                    null, p.request_id, p.traceparent, p.attributes,
                                    greatest((now at time zone 'UTC' - settings.usage_age_max) at time zone 'UTC',
                                             settings.identities_from),
                                    (now at time zone 'UTC' + settings.usage_lead_max) at time zone 'UTC') is null
    ), known as (
        insert into postmeter.usage_identity (source, event_id, usage_id)
        select a.source, a.event_id, a.id
        from arrived a
        where (select count(*) from arrived) = asked
          and (select b.usage_id from postmeter.usage_identity_before b
               where b.source = a.source and b.event_id = a.event_id) is null
        order by a.source collate "C", a.event_id collate "C", a.id
        returning true
    ), waiting as (
        insert into postmeter.outbox_entry (id, source, event_id, org, product, metric, quantity, used_at, account)
        select a.id, a.source, a.event_id, a.org, a.product, a.metric, a.quantity, a.used_at, a.account
        from arrived a
        where (select count(*) from known) = asked
        returning true
    ), written as (
        insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, account, request_id,
                                     traceparent, attributes, recorded_at)
        select a.id, a.source, a.event_id, a.org, a.product, a.metric, a.quantity, a.used_at, a.account, a.request_id,
               a.traceparent, a.attributes, now
        from arrived a
        where (select count(*) from waiting) = asked
        returning true
    )
    select array_agg(a.id order by a.item) into ids
    from arrived a
    where (select count(*) from written) = asked;
    if ids is null then
        -- some were recorded before the present generation: nothing of this attempt stays
        raise unique_violation;
    end if;
    return ids;
exception when others then
    if sqlstate !~ '^(22|23)' then
        raise;
    end if;
    return null;
end
$$;
comment on function postmeter.record_new(jsonb) is
    'Records a batch in which every usage is new, plain, whole and no correction, and returns the ids in its '
    'order. Null: it is not such a batch, and nothing was recorded.';

create function postmeter.refuse_missing(
    source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamptz
) returns void
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    field text := case when source is null then 'source' when event_id is null then 'event_id' when org is null
        then 'org'
                       when product is null then 'product' when metric is null then 'metric'
                       when quantity is null then 'quantity' when used_at is null then 'used_at' end;
begin
    if field is not null then
        raise exception 'usage %: % is missing', coalesce(quote_literal(left(event_id, 255)), '?'), field
            using errcode = '23502', schema = 'postmeter', table = 'outbox', column = field,
                  hint = 'Give it: a usage needs source, event_id, org, product, metric, quantity and used_at.';
    end if;
end
$$;
comment on function postmeter.refuse_missing(text, text, text, text, text, numeric, timestamptz) is
    'Refuses a usage that lacks a required field, by the first one''s name.';

-- The sentences about a correction that is refused, for those who record it and for those who ask beforehand.
create function postmeter.refuse_correction(source text, event_id text, corrects text, problem text)
returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'usage %: corrects % %', quote_literal(event_id), quote_literal(corrects),
        case problem
        when 'dropped' then 'names usage whose month of the ledger, or a later one, was dropped'
        when 'unknown' then (
            select format('names no usage of source %L', refuse_correction.source)
                   || case when isfinite(s.identities_from)
                           then format(' that was used since %s: what is older is no longer known by its event id',
                                       to_char(s.identities_from at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
                           else '' end
            from postmeter.setting s)
        when 'correction' then 'names a correction; correct the usage itself'
        when 'meter' then 'has another org, product, metric or account'
        when 'month' then 'is usage of another month; use its used_at'
        else 'would bring that usage below zero' end
        using errcode = case problem when 'unknown' then 'PM003' when 'below_zero' then 'PM004' else 'PM001' end,
              schema = 'postmeter', table = 'outbox', column = 'corrects', constraint = 'corrects_' || problem;
end
$$;
comment on function postmeter.refuse_correction(text, text, text, text) is
    'Raises the error for a correction that is refused: PM001, PM003 or PM004.';
