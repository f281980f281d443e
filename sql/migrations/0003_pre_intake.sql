-- 0003_pre_intake: the doors through which usage comes in, and where it waits.
-- programs: from 0003
-- lock: none

create table postmeter.usage (
    id          uuid    not null primary key,
    source      text    not null,
    event_id    text    not null,
    org         text    not null,
    product     text    not null,
    metric      text    not null,
    quantity    numeric not null check (quantity between -1000000000000 and 1000000000000),
    used_at     timestamptz not null,
    account     text,
    corrects    text,
    corrected_identity uuid,
    request_id  text,
    traceparent text,
    attributes  jsonb   not null,
    recorded_at timestamptz not null default postmeter.clock(),
    check ((corrects is null) = (corrected_identity is null) and (quantity >= 0 or corrects is not null))
) partition by range (id);
create table postmeter.usage_default partition of postmeter.usage default;
create index usage_corrections on postmeter.usage (corrected_identity) where corrected_identity is not null;
comment on table postmeter.usage is 'Every usage ever recorded: immutable facts. Partitioned by id, that is by time of recording.';
comment on table postmeter.usage_default is 'Usage for which no partition was made in time: no row is ever refused for want of one.';
comment on column postmeter.usage.id is 'Id given at the first recording.';
comment on column postmeter.usage.source is 'The service that recorded it; with event_id its identity.';
comment on column postmeter.usage.event_id is 'The service''s own id of the event.';
comment on column postmeter.usage.org is 'The customer.';
comment on column postmeter.usage.product is 'The product, by stable tag.';
comment on column postmeter.usage.metric is 'What was metered, by stable tag.';
comment on column postmeter.usage.quantity is 'An increment in units of the metric, never a running total; negative in a correction.';
comment on column postmeter.usage.used_at is 'When it was used: decides the hour, in UTC.';
comment on column postmeter.usage.account is 'Which marketplace account, where the org has several.';
comment on column postmeter.usage.corrects is 'Event id, of the same source, of the usage that this one corrects.';
comment on column postmeter.usage.corrected_identity is 'Identity of the usage that this one corrects.';
comment on column postmeter.usage.request_id is 'The request that caused it, for tracking.';
comment on column postmeter.usage.traceparent is 'W3C trace context of that request.';
comment on column postmeter.usage.attributes is 'Evidence (service level, region …); never part of a key.';
comment on column postmeter.usage.recorded_at is 'When it was recorded, on postmeter.clock().';
create trigger append_only before update or delete or truncate on postmeter.usage
    for each statement execute function postmeter.forbid_change();
create trigger append_only before update or delete or truncate on postmeter.usage_default
    for each statement execute function postmeter.forbid_change();

create table postmeter.usage_identity (
    identity uuid not null primary key,
    content  uuid not null,
    usage_id uuid not null
);
comment on table postmeter.usage_identity is 'Which identities were recorded, and with what content: what makes recording twice harmless.';
comment on column postmeter.usage_identity.identity is 'Hash of source and event id (postmeter.usage_identity_of).';
comment on column postmeter.usage_identity.content is 'Hash of what must be equal in a repetition (postmeter.usage_content_of).';
comment on column postmeter.usage_identity.usage_id is 'The usage.';

create table postmeter.outbox (
    id          uuid    not null default postmeter.new_id(),
    source      text    not null,
    event_id    text    not null,
    org         text    not null,
    product     text    not null,
    metric      text    not null,
    quantity    numeric not null,
    used_at     timestamptz not null,
    account     text,
    corrects    text,
    request_id  text,
    traceparent text,
    attributes  jsonb   not null default '{}',
    returned    boolean not null default false,
    shard       smallint not null generated always as ((hashtextextended(org, 0) & 1023)::smallint) stored,
    primary key (shard, id)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
comment on table postmeter.outbox is 'Usage that is not accounted for yet. A producer writes this one row; identity and usage are written by its trigger. Inserted and deleted, never updated.';
comment on column postmeter.outbox.id is 'Id of the usage. Producers have no grant on it.';
comment on column postmeter.outbox.source is 'See usage.source. Up to 255 bytes.';
comment on column postmeter.outbox.event_id is 'See usage.event_id. Up to 255 bytes.';
comment on column postmeter.outbox.org is 'See usage.org. Up to 255 bytes.';
comment on column postmeter.outbox.product is 'See usage.product. Up to 255 bytes.';
comment on column postmeter.outbox.metric is 'See usage.metric. Up to 255 bytes.';
comment on column postmeter.outbox.quantity is 'See usage.quantity. At most 10^12 with at most 15 decimals.';
comment on column postmeter.outbox.used_at is 'See usage.used_at.';
comment on column postmeter.outbox.account is 'See usage.account.';
comment on column postmeter.outbox.corrects is 'See usage.corrects.';
comment on column postmeter.outbox.request_id is 'See usage.request_id.';
comment on column postmeter.outbox.traceparent is 'See usage.traceparent.';
comment on column postmeter.outbox.attributes is 'See usage.attributes. A JSON object of at most 8 KiB.';
comment on column postmeter.outbox.returned is 'This usage was recorded before and comes back (from held, or from a fold that met a cut hour). Producers have no grant on it.';
comment on column postmeter.outbox.shard is 'Bucket of the org, so that folds take tenants in turn.';

create table postmeter.held (
    usage_id       uuid not null primary key,
    destination_id integer,
    reason         text not null check (reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension',
                                                   'invalid_subscription', 'too_late', 'month_closed', 'poison', 'by_operator')),
    org            text not null,
    product        text not null,
    metric         text not null,
    account        text,
    quantity       numeric not null,
    hour           timestamptz not null,
    deadline       timestamptz,
    held_at        timestamptz not null default postmeter.clock()
);
create index held_by_org on postmeter.held (org, product);
comment on table postmeter.held is 'Usage that cannot be allocated yet, with the reason. A catalogue change that cures it sends it back to the outbox.';
comment on column postmeter.held.usage_id is 'The usage.';
comment on column postmeter.held.destination_id is 'Where it would go, if that is known.';
comment on column postmeter.held.reason is 'Stable code: no_subscription, ambiguous_subscription, unmapped_dimension, invalid_subscription, too_late, month_closed, poison, by_operator.';
comment on column postmeter.held.org is 'Its org.';
comment on column postmeter.held.product is 'Its product.';
comment on column postmeter.held.metric is 'Its metric.';
comment on column postmeter.held.account is 'Its account.';
comment on column postmeter.held.quantity is 'Its quantity.';
comment on column postmeter.held.hour is 'Its hour.';
comment on column postmeter.held.deadline is 'Last moment at which its own hour can be sent; null while no destination is known.';
comment on column postmeter.held.held_at is 'Since when.';

create table postmeter.exempted (
    usage_id     uuid not null primary key,
    exemption_id bigint not null
);
create index exempted_by_exemption on postmeter.exempted (exemption_id, usage_id);
comment on table postmeter.exempted is 'Usage of exempt orgs: accounted for, never sent.';
comment on column postmeter.exempted.usage_id is 'The usage.';
comment on column postmeter.exempted.exemption_id is 'The exemption that applies.';

create function postmeter.usage_fault(
    source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamptz,
    account text, corrects text, request_id text, traceparent text, attributes jsonb,
    earliest timestamptz, latest timestamptz
) returns text
language sql stable parallel safe
as $$
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
        when jsonb_typeof(attributes) <> 'object' or pg_column_size(attributes) > 8192 or octet_length(attributes::text) > 8192 then 'attributes_object'
    end
$$;
comment on function postmeter.usage_fault(text, text, text, text, text, numeric, timestamptz, text, text, text, text, jsonb, timestamptz, timestamptz) is
    'Name of the first rule that a usage breaks, or null. The rules of intake, in one place; docs/integrate.md lists them.';

create function postmeter.refuse_usage(fault text, event_id text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    field text := substring(fault from '^(source|event_id|org|product|metric|account|corrects|request_id|traceparent|quantity|used_at|attributes)_');
    settings postmeter.setting;
begin
    select * into settings from postmeter.setting;
    raise exception 'usage %: % %', coalesce(quote_literal(event_id), '?'), field, case
        when fault like '%_length' then 'must have 1 to 255 bytes'
        when fault = 'quantity_range' then 'must be a number between -10^12 and 10^12'
        when fault = 'quantity_decimals' then 'has more than 15 decimals; round it at the source, where its meaning is known'
        when fault = 'quantity_negative' then 'is negative; a correction must say in "corrects" which event it corrects'
        when fault = 'corrects_negative' then 'is given, so the quantity must be below zero'
        when fault = 'used_at_too_old' then format('is more than %s ago; usage of that age is no longer recognised if repeated', settings.usage_age_max)
        when fault = 'used_at_too_far_ahead' then format('is more than %s ahead of the database''s clock', settings.usage_lead_max)
        else 'must be a JSON object of at most 8 KiB' end
        using errcode = case fault when 'used_at_too_old' then 'PM005' when 'used_at_too_far_ahead' then 'PM006' else 'PM001' end,
              schema = 'postmeter', table = 'outbox', column = field, constraint = fault;
end
$$;
comment on function postmeter.refuse_usage(text, text) is 'Raises the error for a fault named by usage_fault: PM001, PM005 or PM006, with column and constraint.';

create function postmeter.check_corrections(corrected uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    bad record;
begin
    -- lock first, in sorted order; sum in a later statement, which sees what others committed while we waited
    perform 1 from postmeter.usage_identity i where i.identity = any (corrected) order by i.identity for no key update;
    -- a write, not only a lock: under REPEATABLE READ the next correction then fails with 40001 instead of adding up
    -- without the sums that its snapshot hides
    update postmeter.usage_identity i set content = i.content where i.identity = any (corrected);
    select c.source, c.corrects, c.event_id,
           case when o.id is null then 'unknown'
                when o.corrects is not null then 'correction'
                when (o.org, o.product, o.metric, o.account) is distinct from (c.org, c.product, c.metric, c.account) then 'meter'
                when date_trunc('month', o.used_at, 'UTC') <> date_trunc('month', c.used_at, 'UTC') then 'month'
                else 'below_zero' end as problem
    into bad
    from postmeter.usage c
    left join postmeter.usage_identity i on i.identity = c.corrected_identity
    left join postmeter.usage o on o.id = i.usage_id
    where c.corrected_identity = any (corrected)
      and (o.id is null or o.corrects is not null
           or (o.org, o.product, o.metric, o.account) is distinct from (c.org, c.product, c.metric, c.account)
           or date_trunc('month', o.used_at, 'UTC') <> date_trunc('month', c.used_at, 'UTC')
           or o.quantity + (select sum(x.quantity) from postmeter.usage x where x.corrected_identity = c.corrected_identity) < 0)
    order by c.id desc
    limit 1;
    if found then
        raise exception 'usage %: corrects % %', quote_literal(bad.event_id), quote_literal(bad.corrects), case bad.problem
            when 'unknown' then format('names no usage of source %L', bad.source)
            when 'correction' then 'names a correction; correct the usage itself'
            when 'meter' then 'has another org, product, metric or account'
            when 'month' then 'is usage of another month; use its used_at'
            else 'would bring that usage below zero' end
            using errcode = case bad.problem when 'unknown' then 'PM003' when 'below_zero' then 'PM004' else 'PM001' end,
                  schema = 'postmeter', table = 'outbox', column = 'corrects', constraint = 'corrects_' || bad.problem;
    end if;
end
$$;
comment on function postmeter.check_corrections(uuid[]) is
    'Refuses corrections of the unknown (PM003), below zero (PM004), or of another meter or month (PM001). Locks the corrected identities in sorted order.';

create function postmeter.outbox_arrived() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    settings  postmeter.setting;
    now       timestamptz;
    recorded  bigint;
    fresh     bigint;
    corrected uuid[];
    bad       record;
    fault     text;
begin
    select * into settings from postmeter.setting;
    -- what postmeter.clock() says, without asking for the row at hand again
    now := coalesce(settings.clock_frozen, clock_timestamp() + settings.clock_shift);
    select count(*), max(postmeter.usage_fault(a.source, a.event_id, a.org, a.product, a.metric, a.quantity, a.used_at,
                a.account, a.corrects, a.request_id, a.traceparent, a.attributes,
                now - settings.usage_age_max, now + settings.usage_lead_max)),
           array_agg(postmeter.usage_identity_of(a.source, a.corrects)) filter (where a.corrects is not null)
    into recorded, fault, corrected
    from arrived a where not a.returned;
    if recorded = 0 then
        return null;
    end if;
    if fault is not null then
        select a.event_id, f.fault into bad
        from arrived a, lateral (select postmeter.usage_fault(a.source, a.event_id, a.org, a.product, a.metric, a.quantity,
                a.used_at, a.account, a.corrects, a.request_id, a.traceparent, a.attributes,
                now - settings.usage_age_max, now + settings.usage_lead_max)) f(fault)
        where not a.returned and f.fault is not null limit 1;
        perform postmeter.refuse_usage(bad.fault, bad.event_id);
    end if;
    -- sorted, so that two batches with the same identities wait for each other instead of deadlocking; of an identity
    -- that stands twice in this one, the first stays
    insert into postmeter.usage_identity (identity, content, usage_id)
    select postmeter.usage_identity_of(a.source, a.event_id),
           postmeter.usage_content_of(a.org, a.product, a.metric, a.quantity, a.used_at, a.account, a.corrects), a.id
    from arrived a where not a.returned
    order by 1, a.id
    on conflict do nothing;
    get diagnostics fresh = row_count;
    if fresh < recorded then
        -- whoever recorded must look up which ids stand; otherwise they are the rows' own
        perform set_config('postmeter.repeated', 'on', true);
        -- a statement of its own: this one sees the rows that the racing insert waited for
        select a.source, a.event_id into bad
        from arrived a join postmeter.usage_identity i on i.identity = postmeter.usage_identity_of(a.source, a.event_id)
        where not a.returned
          and i.content <> postmeter.usage_content_of(a.org, a.product, a.metric, a.quantity, a.used_at, a.account, a.corrects)
        limit 1;
        if found then
            raise exception 'usage % of source % was recorded before with other content', quote_literal(bad.event_id), quote_literal(bad.source)
                using errcode = 'PM002', schema = 'postmeter', table = 'outbox', column = 'event_id', constraint = 'usage_identity',
                      hint = 'An event id names one usage for ever. Give the new usage a new id, or record a correction.';
        end if;
        delete from postmeter.outbox o
        using arrived a join postmeter.usage_identity i on i.identity = postmeter.usage_identity_of(a.source, a.event_id)
        where not a.returned and i.usage_id <> a.id and o.shard = a.shard and o.id = a.id;
    end if;
    insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                 corrected_identity, request_id, traceparent, attributes, recorded_at)
    select a.id, a.source, a.event_id, a.org, a.product, a.metric, a.quantity, a.used_at, a.account, a.corrects,
           case when a.corrects is not null then postmeter.usage_identity_of(a.source, a.corrects) end,
           a.request_id, a.traceparent, a.attributes, now
    from arrived a
    where not a.returned and (fresh = recorded or exists (
        select from postmeter.usage_identity i
        where i.identity = postmeter.usage_identity_of(a.source, a.event_id) and i.usage_id = a.id));
    if corrected is not null then
        perform postmeter.check_corrections(corrected);
    end if;
    if settings.unresolved = 'refuse' then
        perform postmeter.check_resolved(array(select a.id from arrived a where not a.returned));
    end if;
    return null;
end
$$;
comment on function postmeter.outbox_arrived() is 'Trigger of the outbox: checks what arrived, writes identity and usage, drops identical repetitions, refuses the same id with other content (PM002).';
create trigger arrived after insert on postmeter.outbox
    referencing new table as arrived for each statement execute function postmeter.outbox_arrived();

create function postmeter.record_usage(
    source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamptz,
    account text default null, corrects text default null, request_id text default null,
    traceparent text default null, attributes jsonb default '{}'
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    recorded uuid;
begin
    insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                  request_id, traceparent, attributes)
    values (record_usage.source, record_usage.event_id, record_usage.org, record_usage.product, record_usage.metric,
            record_usage.quantity, record_usage.used_at, record_usage.account, record_usage.corrects,
            record_usage.request_id, record_usage.traceparent, coalesce(record_usage.attributes, '{}'))
    returning id into recorded;
    if current_setting('postmeter.repeated', true) = 'on' then
        select i.usage_id into strict recorded from postmeter.usage_identity i
        where i.identity = postmeter.usage_identity_of(record_usage.source, record_usage.event_id);
    end if;
    return recorded;
end
$$;
comment on function postmeter.record_usage(text, text, text, text, text, numeric, timestamptz, text, text, text, text, jsonb) is
    'Records one usage in the caller''s transaction and returns its id; repeated with the same content it returns the first id again. Errors: 23502, PM001 to PM007 (docs/integrate.md).';

create function postmeter.record_usage_batch(usages jsonb)
returns table (item integer, verdict text, usage_id uuid, error_code text, field text, message text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    ids   uuid[];
    usage jsonb;
begin
    if jsonb_typeof(usages) is distinct from 'array' then
        raise exception 'usages must be a JSON array of objects' using errcode = 'PM001', column = 'usages', constraint = 'usages_array';
    end if;
    begin
        ids := array(select postmeter.new_id() from generate_series(1, jsonb_array_length(usages)));
        insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                      request_id, traceparent, attributes)
        select ids[u.ordinality], u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects,
               u.request_id, u.traceparent, coalesce(u.attributes, '{}')
        from rows from (jsonb_to_recordset(usages) as (source text, event_id text, org text, product text, metric text,
                quantity numeric, used_at timestamptz, account text, corrects text, request_id text, traceparent text, attributes jsonb))
             with ordinality u(source, event_id, org, product, metric, quantity, used_at, account, corrects,
                               request_id, traceparent, attributes, ordinality);
        if current_setting('postmeter.repeated', true) is distinct from 'on' then
            return query
            select k.ordinality::integer, 'recorded'::text, k.id, null::text, null::text, null::text
            from unnest(ids) with ordinality k(id, ordinality);
            return;
        end if;
        return query
        select n.ordinality::integer,
               case when k.id is not null and row_number() over (partition by i.identity order by n.ordinality) = 1
                    then 'recorded' else 'repeated' end,
               i.usage_id, null::text, null::text, null::text
        from jsonb_array_elements(usages) with ordinality n(usage, ordinality)
        join postmeter.usage_identity i on i.identity = postmeter.usage_identity_of(n.usage ->> 'source', n.usage ->> 'event_id')
        left join unnest(ids) k(id) on k.id = i.usage_id
        order by n.ordinality;
        return;
    exception when others then
        -- bad data of some row: every row gets its own verdict below; anything else is the caller's business
        if sqlstate !~ '^(22|23|PM)' then
            raise;
        end if;
    end;
    item := 0;
    for usage in select e from jsonb_array_elements(usages) e loop
        item := item + 1;
        error_code := null; field := null; message := null; usage_id := null;
        begin
            usage_id := (select i.usage_id from postmeter.usage_identity i
                         where i.identity = postmeter.usage_identity_of(usage ->> 'source', usage ->> 'event_id'));
            verdict := case when usage_id is null then 'recorded' else 'repeated' end;
            usage_id := postmeter.record_usage(usage ->> 'source', usage ->> 'event_id', usage ->> 'org', usage ->> 'product',
                usage ->> 'metric', (usage ->> 'quantity')::numeric, (usage ->> 'used_at')::timestamptz, usage ->> 'account',
                usage ->> 'corrects', usage ->> 'request_id', usage ->> 'traceparent', usage -> 'attributes');
        exception when others then
            get stacked diagnostics error_code = returned_sqlstate, field = column_name, message = message_text;
            if error_code !~ '^(22|23|PM)' then
                raise;
            end if;
            verdict := 'refused';
            usage_id := null;
            field := coalesce(nullif(field, ''), case when message like '%numeric%' then 'quantity' when message like '%time%' then 'used_at' end);
        end;
        return next;
    end loop;
end
$$;
comment on function postmeter.record_usage_batch(jsonb) is
    'Records many usages in one round trip: an array of objects with the parameters of record_usage. A verdict per row: recorded, repeated or refused (with error code, field and message); what is refused does not stop the rest.';

insert into postmeter.migration (version, name) values (3, '0003_pre_intake');
