-- 0059_pre_doors: what is new is recorded by three plain inserts; the door's trigger is for rows that come by INSERT or COPY.
-- programs: from 0022
-- lock: access exclusive on outbox, for a moment: it becomes the partition of a door

-- ids -------------------------------------------------------------------------------------------------------------------

create or replace function postmeter.new_id() returns uuid
language sql volatile parallel safe
begin atomic
    -- RFC 9562: milliseconds, version 7, the fraction of the millisecond in 12 bits, variant, 62 bits of one random draw
    select (overlay(lpad(to_hex((date_part('epoch', clock_timestamp()) * 4096000)::bigint), 15, '0') placing '7' from 13 for 0)
            || to_hex((random() * 4611686018427387000)::bigint | '-9223372036854775808'::bigint))::uuid;
end;
comment on function postmeter.new_id() is
    'A UUIDv7 from the server''s clock: ids of usage and attempts, ordered by time to a quarter of a microsecond, so that partitions by id are partitions by time.';

-- the outbox ------------------------------------------------------------------------------------------------------------

-- The door carries the trigger, its one partition the rows: the functions below write to the partition, and nobody else can.
drop trigger arrived on postmeter.outbox;
-- squawk-ignore ban-drop-function -- it comes again below, for rows of the door
drop function postmeter.stray_reason(postmeter.outbox);
-- squawk-ignore renaming-table -- the door takes the name
alter table postmeter.outbox rename to outbox_entry;
create table postmeter.outbox (
    like postmeter.outbox_entry including defaults including generated including comments
) partition by range (id);
alter table postmeter.outbox attach partition postmeter.outbox_entry default;
create trigger arrived after insert on postmeter.outbox
    referencing new table as arrived for each statement execute function postmeter.outbox_arrived();
alter table postmeter.outbox enable always trigger arrived;
comment on table postmeter.outbox is 'Usage that is not accounted for yet: the door. A producer writes this one row; identity and usage are written by its trigger. Inserted and deleted, never updated.';
comment on table postmeter.outbox_entry is 'The rows of the outbox. What postmeter.record_usage and its kin write here lacks what only postmeter.usage needs: request, trace and attributes.';
do $$
declare
    granted text[];
    what    text;
begin
    -- what was granted on the table is granted on the door, and on the partition nothing
    select array_agg(format('grant %s on postmeter.outbox to %s', x.what, x.who))
           || array_agg(distinct format('revoke all on postmeter.outbox_entry from %s', x.who))
    into granted
    from (
        select case a.grantee when 0 then 'public' else a.grantee::regrole::text end as who, a.privilege_type as what
        from pg_class c, aclexplode(c.relacl) a
        where c.oid = 'postmeter.outbox_entry'::regclass and a.grantee <> c.relowner
        union all
        select case a.grantee when 0 then 'public' else a.grantee::regrole::text end, format('%s (%I)', a.privilege_type, t.attname)
        from pg_attribute t, aclexplode(t.attacl) a
        where t.attrelid = 'postmeter.outbox_entry'::regclass and not t.attisdropped
    ) x;
    foreach what in array coalesce(granted, '{}') loop
        execute what;
    end loop;
end
$$;

create function postmeter.stray_reason(entry postmeter.outbox) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
    set plan_cache_mode = force_generic_plan
as $$
declare
    u postmeter.usage;
begin
    select * into u from postmeter.usage x where x.id = entry.id;
    if u.id is null then
        return 'without_usage';
    elsif (u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects)
          is distinct from (entry.source, entry.event_id, entry.org, entry.product, entry.metric, entry.quantity,
                            entry.used_at, entry.account, entry.corrects) then
        return 'other_content';
    elsif exists (select from postmeter.allocation a join postmeter.destination t on t.id = a.destination_id
                  where a.usage_id = u.id and t.shadow_of is null)
          or exists (select from postmeter.held h where h.usage_id = u.id)
          or exists (select from postmeter.exempted e where e.usage_id = u.id)
          or exists (select from postmeter.usage_written_off w where w.usage_id = u.id) then
        return 'accounted_for';
    end if;
    return null;
end
$$;
comment on function postmeter.stray_reason(postmeter.outbox) is
    'Why this outbox entry must not be folded: no usage stands behind it, or its usage is accounted for already. Null: it may be.';
revoke execute on function postmeter.stray_reason(postmeter.outbox) from public;
grant execute on function postmeter.stray_reason(postmeter.outbox) to postmeter_worker;

-- its outbox is the door, which its callers may read
create or replace function postmeter.marked_exempt(marks bigint[])
returns table (usage_id uuid, exemption_id bigint, org text, product text, metric text, hour timestamptz, quantity numeric,
               to_destination_id integer, to_buyer text, to_dimension text)
language sql stable
begin atomic
    with counted as materialized (
        select x.usage_id, x.exemption_id, u.org, u.product, u.metric, u.account, u.quantity, postmeter.hour_of(u.used_at) as hour,
               postmeter.resolved_at(u.org, u.product, u.used_at) as at, u.corrected_id
        from (select distinct c.exemption_id from postmeter.catalogue_mark c where c.id = any (marked_exempt.marks) and c.exemption_id is not null) k
        join postmeter.exemption e on e.id = k.exemption_id
        join postmeter.exempted x on x.exemption_id = k.exemption_id
         -- hours that are open are of usage that was recorded lately
         and x.usage_id >= postmeter.id_at(clock_timestamp() - (select max(t.age_limit) + interval '1 day' from postmeter.destination t))
        join postmeter.usage u on u.id = x.usage_id
        where u.org <> e.org or u.product <> e.product or u.used_at < e.valid_from or u.used_at >= e.valid_until
           or u.corrected_id is not null
    ), kind as materialized (
        select c.org, c.product, c.metric, c.account, c.hour, c.at, row_number() over () as item
        from counted c where c.corrected_id is null group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.org order by k.item) as orgs, array_agg(k.product order by k.item) as products,
               array_agg(k.metric order by k.item) as metrics, array_agg(k.account order by k.item) as accounts,
               array_agg(k.at order by k.item) as moments
        from kind k
    ), billed as materialized (
        select k.*, r.destination_id, r.buyer, n.name
        from given g
        cross join lateral postmeter.resolve(g.orgs, g.products, g.metrics, g.accounts, g.moments) r
        join kind k on k.item = r.item
        join postmeter.dimension n on n.id = r.dimension_id
        join postmeter.destination t on t.id = r.destination_id
        left join postmeter.meter m on m.destination_id = t.id and m.buyer = r.buyer and m.dimension = n.name
         and m.month = postmeter.month_of(k.hour, t.zone)
        left join postmeter.delivery d on d.meter_id = m.id and d.hour = k.hour
        where r.exemption_id is null and r.reason is null
          -- of an hour that is cut, or would have been, it stays what it was
          and case when d.id is null then k.hour + interval '1 hour' + t.grace > (select postmeter.clock()) else d.status = 'open' end
    ), moved as materialized (
        select c.*, b.destination_id, b.buyer, b.name
        from counted c
        join billed b on b.org = c.org and b.product = c.product and b.metric = c.metric and b.account is not distinct from c.account
         and b.hour = c.hour and b.at = c.at
        where c.corrected_id is null
    )
    select m.usage_id, m.exemption_id, m.org, m.product, m.metric, m.hour, m.quantity, m.destination_id, m.buyer, m.name from moved m
    union all
    -- a correction goes where what it corrects goes, or has gone
    select c.usage_id, c.exemption_id, c.org, c.product, c.metric, coalesce(m.hour, c.hour), c.quantity, m.destination_id, m.buyer, m.name
    from counted c
    left join moved m on m.usage_id = c.corrected_id
    where c.corrected_id is not null
      and (m.usage_id is not null or exists (select from postmeter.outbox o
                                             where o.shard = (hashtextextended(c.org, 0) & 1023)::smallint and o.id = c.corrected_id)
           or exists (select from postmeter.allocation a join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
                      where a.usage_id = c.corrected_id));
end;

-- a stored value may be compressed: what counts is its text
create or replace function postmeter.usage_fault(
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

-- one usage -------------------------------------------------------------------------------------------------------------

create or replace function postmeter.record_usage(
    source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamptz,
    account text default null, corrects text default null, request_id text default null,
    traceparent text default null, attributes jsonb default '{}'
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
    made       uuid := postmeter.new_id();
    given      jsonb := coalesce(record_usage.attributes, '{}');
    recorded   timestamptz;
    oldest     timestamptz;
    latest     timestamptz;
    unresolved text;
    is_new     boolean := false;
begin
    -- the generation first: what is read with it and after it is no older (postmeter.turn_identities)
    select n.now, greatest((n.now at time zone 'UTC' - s.usage_age_max) at time zone 'UTC', s.identities_from),
           (n.now at time zone 'UTC' + s.usage_lead_max) at time zone 'UTC', s.unresolved
    into recorded, oldest, latest, unresolved
    from postmeter.identity_generation g, postmeter.setting s,
         lateral (select coalesce(s.clock_frozen, clock_timestamp() + s.clock_shift) as now) n;
    -- Nearly always it is new, whole and no correction: three rows are written. All else goes through the door.
    if num_nulls(record_usage.source, record_usage.event_id, record_usage.org, record_usage.product, record_usage.metric,
                 record_usage.quantity, record_usage.used_at, recorded) = 0
       and record_usage.corrects is null and unresolved = 'hold'
       and postmeter.usage_fault(
               record_usage.source, record_usage.event_id, record_usage.org, record_usage.product, record_usage.metric,
               record_usage.quantity, record_usage.used_at, record_usage.account, record_usage.corrects,
               record_usage.request_id, record_usage.traceparent, given, oldest, latest) is null then
        insert into postmeter.usage_identity (source, event_id, usage_id)
        select record_usage.source, record_usage.event_id, made
        where not exists (select from postmeter.usage_identity_before b
                          where b.source = record_usage.source and b.event_id = record_usage.event_id)
        on conflict do nothing;
        is_new := found;
    end if;
    if not is_new then
        insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                      request_id, traceparent, attributes)
        values (record_usage.source, record_usage.event_id, record_usage.org, record_usage.product, record_usage.metric,
                record_usage.quantity, record_usage.used_at, record_usage.account, record_usage.corrects,
                record_usage.request_id, record_usage.traceparent, given)
        returning id into made;
        if current_setting('postmeter.repeated', true) = 'on' then
            made := postmeter.usage_of(record_usage.source, record_usage.event_id);
        end if;
        return made;
    end if;
    insert into postmeter.outbox_entry (id, source, event_id, org, product, metric, quantity, used_at, account)
    values (made, record_usage.source, record_usage.event_id, record_usage.org, record_usage.product,
            record_usage.metric, record_usage.quantity, record_usage.used_at, record_usage.account);
    insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, account, request_id,
                                 traceparent, attributes, recorded_at)
    values (made, record_usage.source, record_usage.event_id, record_usage.org, record_usage.product,
            record_usage.metric, record_usage.quantity, record_usage.used_at, record_usage.account,
            record_usage.request_id, record_usage.traceparent, given, recorded);
    return made;
end
$$;

-- many usages -----------------------------------------------------------------------------------------------------------

create or replace function postmeter.usage_time(text) returns timestamptz
language sql stable parallel safe
begin atomic
    -- further than microseconds Postgres would round, and 59.9999999 seconds would be another minute
    select (case when octet_length($1) > 27 then regexp_replace($1, '([.][0-9]{6})[0-9]+', '\1') else $1 end)::timestamptz;
end;

create function postmeter.usage_text_is_plain(usage jsonb) returns boolean
language sql immutable parallel safe
begin atomic
    select usage - array['source', 'event_id', 'org', 'product', 'metric', 'quantity', 'used_at', 'account',
                         'corrects', 'request_id', 'traceparent', 'attributes'] = '{}'
       and jsonb_typeof(usage -> 'source') = 'string' and jsonb_typeof(usage -> 'event_id') = 'string'
       and jsonb_typeof(usage -> 'org') = 'string' and jsonb_typeof(usage -> 'product') = 'string'
       and jsonb_typeof(usage -> 'metric') = 'string'
       and (jsonb_typeof(usage -> 'account') in ('string', 'null')) is not false
       and (jsonb_typeof(usage -> 'corrects') = 'null') is not false
       and (jsonb_typeof(usage -> 'request_id') in ('string', 'null')) is not false
       and (jsonb_typeof(usage -> 'traceparent') in ('string', 'null')) is not false
       and (jsonb_typeof(usage -> 'quantity') = 'number'
            or jsonb_typeof(usage -> 'quantity') = 'string' and (usage ->> 'quantity') ~ '^[0-9]+([.][0-9]+)?$')
       and jsonb_typeof(usage -> 'used_at') = 'string'
       and (usage ->> 'used_at') ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?Z$';
end;
comment on function postmeter.usage_text_is_plain(jsonb) is
    'Whether a usage is written as nearly all are, and corrects nothing: then postmeter.usage_text_fault finds no fault with it.';
revoke execute on function postmeter.usage_text_is_plain(jsonb) from public;

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
                   (u.usage ->> 'quantity')::numeric as quantity, postmeter.usage_time(u.usage ->> 'used_at') as used_at,
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
    'Of a batch in which every usage was recorded before, with the same content, the ids in its order: nothing is written for it. Null: it is not such a batch.';
revoke execute on function postmeter.record_known(jsonb) from public;

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
    -- Each step is taken for all of them or for none, identities first: what a batch repeats ends it before anything else is
    -- written. A sub-select that counts is run whole before the first row of the step that asks it.
    with arrived as materialized (
        select p.*
        from (
            select postmeter.new_id() as id, u.ordinality as item, u.usage, u.usage ->> 'source' as source,
                   u.usage ->> 'event_id' as event_id, u.usage ->> 'org' as org, u.usage ->> 'product' as product,
                   u.usage ->> 'metric' as metric, (u.usage ->> 'quantity')::numeric as quantity,
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
    'Records a batch in which every usage is new, plain, whole and no correction, and returns the ids in its order. Null: it is not such a batch, and nothing was recorded.';
revoke execute on function postmeter.record_new(jsonb) from public;

create or replace function postmeter.record_usage_batch(usages jsonb)
returns table (item integer, verdict text, usage_id uuid, error_code text, field text, message text)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    ids      uuid[];
    usage    jsonb;
    quantity numeric;
    used_at  timestamptz;
    named    text;
begin
    if jsonb_typeof(usages) is distinct from 'array' then
        raise exception 'usages must be a JSON array of objects' using errcode = 'PM001', column = 'usages', constraint = 'usages_array';
    end if;
    ids := postmeter.record_new(usages);
    if ids is not null then
        return query
        select k.ordinality::integer, 'recorded'::text, k.id, null::text, null::text, null::text
        from unnest(ids) with ordinality k(id, ordinality);
        return;
    end if;
    -- what a client sends again because the answer was lost
    ids := postmeter.record_known(usages);
    if ids is not null then
        return query
        select k.ordinality::integer, 'repeated'::text, k.id, null::text, null::text, null::text
        from unnest(ids) with ordinality k(id, ordinality);
        return;
    end if;
    if not exists (select from jsonb_array_elements(usages) e where postmeter.usage_text_fault(e) is not null) then
        begin
            ids := array(select postmeter.new_id() from generate_series(1, jsonb_array_length(usages)));
            insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                          request_id, traceparent, attributes)
            select ids[u.ordinality], u.usage ->> 'source', u.usage ->> 'event_id', u.usage ->> 'org', u.usage ->> 'product',
                   u.usage ->> 'metric', (u.usage ->> 'quantity')::numeric, postmeter.usage_time(u.usage ->> 'used_at'),
                   u.usage ->> 'account', u.usage ->> 'corrects', u.usage ->> 'request_id', u.usage ->> 'traceparent',
                   coalesce(nullif(u.usage -> 'attributes', 'null'), '{}')
            from jsonb_array_elements(usages) with ordinality u(usage, ordinality);
            if current_setting('postmeter.repeated', true) is distinct from 'on' then
                return query
                select k.ordinality::integer, 'recorded'::text, k.id, null::text, null::text, null::text
                from unnest(ids) with ordinality k(id, ordinality);
                return;
            end if;
            -- no join, so that no plan can be quadratic: an id of ours stands for an identity if one of its items brought it
            return query
            select s.item, case when s.is_ours and s.nth = 1 then 'recorded' else 'repeated' end, s.standing,
                   null::text, null::text, null::text
            from (
                select l.item, l.standing, bool_or(l.standing = ids[l.item]) over (partition by l.standing) as is_ours,
                       row_number() over (partition by l.standing order by l.item) as nth
                from (
                    select n.ordinality::integer as item,
                           postmeter.usage_of(n.usage ->> 'source', n.usage ->> 'event_id') as standing
                    from jsonb_array_elements(usages) with ordinality n(usage, ordinality)
                    offset 0) l
            ) s
            order by s.item;
            return;
        exception when others then
            -- bad data of some row: every row gets its own verdict below; anything else is the caller's business
            if sqlstate !~ '^(22|23|PM)' then
                raise;
            end if;
        end;
    end if;
    item := 0;
    for usage in select e from jsonb_array_elements(usages) e loop
        item := item + 1;
        usage_id := null; verdict := 'refused';
        select f.error_code, f.field, f.message into error_code, field, message from postmeter.usage_text_refusal(usage) f;
        if error_code is not null then
            return next;
            continue;
        end if;
        begin
            -- what a cast refuses is told by the field at hand: messages come in the server's language
            field := 'quantity';
            quantity := (usage ->> 'quantity')::numeric;
            field := 'used_at';
            used_at := postmeter.usage_time(usage ->> 'used_at');
            field := null;
            -- the door says whether it met a repetition
            perform set_config('postmeter.repeated', 'off', true);
            usage_id := postmeter.record_usage(usage ->> 'source', usage ->> 'event_id', usage ->> 'org', usage ->> 'product',
                usage ->> 'metric', quantity, used_at, usage ->> 'account', usage ->> 'corrects', usage ->> 'request_id',
                usage ->> 'traceparent', nullif(usage -> 'attributes', 'null'));
            verdict := case when current_setting('postmeter.repeated', true) = 'on' then 'repeated' else 'recorded' end;
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
        end;
        return next;
    end loop;
end
$$;

-- a dropped month ---------------------------------------------------------------------------------------------------------

do $$
declare
    definition text;
    changed    text;
begin
    select pg_get_functiondef(p.oid) into strict definition
    from pg_proc p where p.pronamespace = 'postmeter'::regnamespace and p.proname = 'drop_ledger_month';
    changed := replace(definition, '    -- from here on no month is closed or opened again',
'    -- what repeats or corrects it could not be compared with it any more: it is too old from now on, whatever age is taken
    update postmeter.setting s set identities_from = greatest(s.identities_from, d.used_until + interval ''1 microsecond'')
    from postmeter.ledger_drop d where d.month = drop_ledger_month.month and d.used_until is not null;
    -- from here on no month is closed or opened again');
    if changed = definition then
        raise exception 'drop_ledger_month is not as this migration knows it';
    end if;
    execute changed;
end
$$;

insert into postmeter.migration (version, name) values (59, '0059_pre_doors');
