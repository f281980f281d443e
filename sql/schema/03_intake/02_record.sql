-- Recording usage, through the outbox's trigger and through functions.

create function postmeter.outbox_after_insert() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
    set plan_cache_mode = force_generic_plan
as $$
declare
    settings     postmeter.setting;
    now          timestamptz;
    oldest       timestamptz;
    latest       timestamptz;
    recorded     bigint;
    fresh        bigint := 0;
    corrected    uuid[];
    foreign_time boolean;
    -- An id says when its row was recorded: the months of the ledger, and what looks for rows that wait, are ranges of
    -- ids.
    -- Between these lie those that the running statement makes.
    first_id     uuid := postmeter.id_at(statement_timestamp() - interval '1 hour');
    last_id      uuid := postmeter.id_at(clock_timestamp() + interval '1 hour');
    bad          record;
    fault        text;
    shards       smallint[];
    repeats      uuid[];
    repeated     record;
    other        uuid;
begin
    -- the generation first: what is read with it and after it is no older (postmeter.turn_identities)
    select s.* into settings from postmeter.identity_generation g, postmeter.setting s;
    if not found then
        perform postmeter.check_generation();
        select s.* into strict settings from postmeter.identity_generation g, postmeter.setting s;
    end if;
    -- what postmeter.clock() says, without asking for the row at hand again; days are days of UTC, whatever the
    -- session's are
    now := coalesce(settings.clock_frozen, clock_timestamp() + settings.clock_shift);
    oldest := greatest((now at time zone 'UTC' - settings.usage_age_max) at time zone 'UTC', settings.identities_from);
    latest := (now at time zone 'UTC' + settings.usage_lead_max) at time zone 'UTC';
    select count(*), max(postmeter.usage_fault(a.source, a.event_id, a.org, a.product, a.metric, a.quantity,
                a.used_at, a.account, a.corrects, a.request_id, a.traceparent, a.attributes,
                oldest, latest)),
           array_agg(a.id) filter (where a.corrects is not null), bool_or(a.id < first_id or a.id > last_id)
    into recorded, fault, corrected, foreign_time
    from arrived a
    where not a.returned;
    if recorded = 0 then
        return null;
    end if;
    if fault is not null then
        select a.event_id, f.fault into bad
        from arrived a, lateral (select postmeter.usage_fault(a.source, a.event_id, a.org, a.product, a.metric,
                a.quantity, a.used_at, a.account, a.corrects, a.request_id, a.traceparent, a.attributes,
                oldest, latest)) f(fault)
        where not a.returned and f.fault is not null limit 1;
        perform postmeter.refuse_usage(bad.fault, bad.event_id);
    end if;
    if foreign_time then
        raise exception 'usage: id is not of this time'
            using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'id',
                constraint = 'id_of_this_time',
                  hint = 'Leave id out: the database gives it.';
    end if;
    -- Sorted, so that two batches with the same identities wait for each other instead of deadlocking. Most usages are
    -- new: they are just inserted, and only if one is not, each is looked at. One alone is not worth a subtransaction,
    -- of which 64 make every snapshot dearer.
    if recorded > 1 then
        begin
            insert into postmeter.usage_identity (source, event_id, usage_id)
            select a.source, a.event_id, a.id
            from arrived a
            where not a.returned
              and (select b.usage_id from postmeter.usage_identity_before b
                   where b.source = a.source and b.event_id = a.event_id) is null
            order by a.source collate "C", a.event_id collate "C", a.id;
            get diagnostics fresh = row_count;
            if fresh < recorded then
                raise unique_violation;
            end if;
        exception when unique_violation then
            fresh := 0;
        end;
    end if;
    if fresh = 0 then
        -- of an identity that stands twice in this statement, the first stays
        insert into postmeter.usage_identity (source, event_id, usage_id)
        select a.source, a.event_id, a.id
        from arrived a
        where not a.returned
          and coalesce((select i.usage_id from postmeter.usage_identity i
                        where i.source = a.source and i.event_id = a.event_id),
                       (select b.usage_id from postmeter.usage_identity_before b
                        where b.source = a.source and b.event_id = a.event_id)) is null
        order by a.source collate "C", a.event_id collate "C", a.id
        on conflict do nothing;
        get diagnostics fresh = row_count;
    end if;
    if fresh < recorded then
        -- whoever recorded must look up which ids stand; otherwise they are the rows' own
        perform set_config('postmeter.repeated', 'on', true);
        -- A statement of its own: this one sees the rows that the racing insert waited for. Of an identity that stands
        -- more than once in this statement, each is compared with the one before it.
        select array_agg(r.shard), array_agg(r.id), (array_agg(r.id) filter (where r.is_same is not true))[1]
        into shards, repeats, other
        from (
            select k.shard, k.id, k.standing,
                   case when lag(k.id) over same is not null then k.content = lag(k.content) over same
                        else (select k.content = row(u.org, u.product, u.metric, u.quantity, u.used_at, u.account,
                                                     u.corrects)
                              from postmeter.usage u where u.id = k.standing) end as is_same
            from (select a.shard, a.id, a.source, a.event_id, row(a.org, a.product, a.metric, a.quantity, a.used_at,
                         a.account, a.corrects) as content,
                         postmeter.usage_of(a.source, a.event_id) as standing
                  from arrived a where not a.returned offset 0) k
            window same as (partition by k.standing order by k.standing <> k.id, k.id)
        ) r
        where r.standing <> r.id;
        if other is not null then
            -- What was recorded is not the caller's to read, and a value in a variable is: any session may have its
            -- plans
            -- printed (debug_print_plan), with what their parameters hold. Only names leave this statement.
            select a.source, a.event_id, case when f.found then array_remove(array[
                       case when f.org <> a.org then 'org' end, case when f.product <> a.product then 'product' end,
                       case when f.metric <> a.metric then 'metric' end,
                       case when f.quantity <> a.quantity then 'quantity' end,
                       case when f.used_at <> a.used_at then 'used_at' end,
                       case when f.account is distinct from a.account then 'account' end,
                       case when f.corrects is distinct from a.corrects then 'corrects' end], null) end as fields
            into bad
            from (select x.*, postmeter.usage_of(x.source, x.event_id) as first_id
                  from arrived x where x.id = other offset 0) a
            left join lateral (
                select true as found, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects
                from postmeter.usage u where u.id = a.first_id
                union all
                select true, y.org, y.product, y.metric, y.quantity, y.used_at, y.account, y.corrects
                from arrived y
                where y.source = a.source and y.event_id = a.event_id
                  and (y.org, y.product, y.metric, y.quantity, y.used_at, y.account, y.corrects) is distinct from
                      (a.org, a.product, a.metric, a.quantity, a.used_at, a.account, a.corrects)
                limit 1) f on true;
            perform postmeter.refuse_other_content(bad.source, bad.event_id, bad.fields);
        end if;
        -- one by one: a set of ids would be a filter on its shard in a plan that was made over a small outbox
        for repeated in select r.shard, r.id from unnest(shards, repeats) r(shard, id) loop
            delete from postmeter.outbox o where o.shard = repeated.shard and o.id = repeated.id;
        end loop;
    end if;
    if fresh > 0 then
        insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                     corrected_identity, corrected_id, request_id, traceparent, attributes, recorded_at)
        select a.id, a.source, a.event_id, a.org, a.product, a.metric, a.quantity, a.used_at, a.account, a.corrects,
               case when a.corrects is not null then postmeter.usage_identity_of(a.source, a.corrects) end,
               case when a.corrects is not null then postmeter.usage_of(a.source, a.corrects) end,
               a.request_id, a.traceparent, a.attributes, now
        from arrived a
        where not a.returned and (fresh = recorded or a.id = postmeter.usage_of(a.source, a.event_id));
    end if;
    if corrected is not null then
        perform postmeter.check_corrections(corrected);
    end if;
    if settings.unresolved = 'refuse' then
        perform postmeter.check_resolved(array(select a.id from arrived a where not a.returned and a.corrects is null));
    end if;
    return null;
end
$$;
comment on function postmeter.outbox_after_insert() is
    'Trigger of the outbox: checks what arrived, writes identity and usage, drops identical repetitions, refuses '
    'the same id with other content (PM002).';
create trigger arrived after insert on postmeter.outbox
    referencing new table as arrived for each statement execute function postmeter.outbox_after_insert();
alter table postmeter.outbox enable always trigger arrived;

create function postmeter.record_usage(
    source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamptz,
    account text default null, corrects text default null, request_id text default null,
    traceparent text default null, attributes jsonb default '{}'
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
    set plan_cache_mode = force_generic_plan
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
    if num_nulls(record_usage.source, record_usage.event_id, record_usage.org, record_usage.product,
        record_usage.metric,
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
    elsif num_nulls(record_usage.source, record_usage.event_id, record_usage.org, record_usage.product,
        record_usage.metric,
                    record_usage.quantity, record_usage.used_at) > 0 then
        perform postmeter.refuse_missing(record_usage.source, record_usage.event_id, record_usage.org,
            record_usage.product,
                                         record_usage.metric, record_usage.quantity, record_usage.used_at);
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
comment on function postmeter.record_usage(
    text, text, text, text, text, numeric, timestamptz, text, text, text, text, jsonb
) is
    'Records one usage in the caller''s transaction and returns its id; repeated with the same content it returns '
    'the first id again. Errors: 23502, PM001 to PM007 (docs/integrate.md).';

create function postmeter.record_usage(
    source text, event_id text, org text, product text, metric text, quantity numeric,
    used_at timestamp without time zone, account text default null, corrects text default null,
    request_id text default null, traceparent text default null, attributes jsonb default '{}'
) returns uuid
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception
        'usage %: used_at is a timestamp without time zone, which is another moment in every session; pass a '
            'timestamptz',
                    coalesce(quote_literal(event_id), '?')
        using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'used_at',
            constraint = 'used_at_zone',
              hint = 'Give your time its zone where it is made, or write: used_at at time zone ''UTC''.';
end
$$;
comment on function postmeter.record_usage(
    text, text, text, text, text, numeric, timestamp without time zone, text, text, text, text, jsonb
) is
    'Refuses a time without a zone (PM001): cast silently, it would mean another moment in every session.';

create function postmeter.record_usage(
    source text, event_id text, org text, product text, metric text, quantity numeric, used_at date,
    account text default null, corrects text default null, request_id text default null,
    traceparent text default null, attributes jsonb default '{}'
) returns uuid
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'usage %: used_at is a date, and marketplaces count hours; pass a timestamptz',
                    coalesce(quote_literal(event_id), '?')
        using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'used_at',
            constraint = 'used_at_zone',
              hint = 'Pass the moment of use, with its zone.';
end
$$;
comment on function postmeter.record_usage(
    text, text, text, text, text, numeric, date, text, text, text, text, jsonb
) is
    'Refuses a date (PM001): it names no hour, and its midnight is another moment in every session.';
