-- 0026_pre_intake_guard: intake's trigger cannot be skipped, nor slowed by its cached plans, nor given ids of another
-- time; what comes into the outbox around it is set aside by name.
-- programs: from 0022
-- lock: share row exclusive on outbox, for a moment: its trigger is set to fire for replicas too

-- repetitions ---------------------------------------------------------------------------------------------------------

create function postmeter.refuse_other_content(source text, event_id text, fields text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'usage % of source % was recorded before with other content: %',
        quote_literal(event_id), quote_literal(source), case
            when fields is null then 'its month of the ledger was dropped'
            else array_to_string(fields, ', ') || case when cardinality(fields) > 1 then ' differ' else ' differs' end end
        using errcode = 'PM002', schema = 'postmeter', table = 'outbox', column = 'event_id',
              constraint = 'usage_identity',
              hint = 'An event id names one usage for ever. Give the new usage a new id, or record a correction.';
end
$$;
comment on function postmeter.refuse_other_content(text, text, text[]) is
    'Raises PM002 for a usage whose identity is known with other content, and names the fields that differ.';

-- corrections: each corrected usage is looked up and summed once, by index, whatever was there when this was planned
create or replace function postmeter.check_corrections(corrected uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
declare
    identities uuid[];
    bad        record;
begin
    -- corrected: the usages that correct; those that only repeat an earlier one are not in postmeter.usage
    identities := array(select distinct u.corrected_identity from postmeter.usage u where u.id = any (corrected));
    -- lock first, in sorted order; sum in a later statement, which sees what others committed while we waited
    perform 1 from postmeter.usage_identity i where i.identity = any (identities) order by i.identity for no key update;
    -- a write, not only a lock: under REPEATABLE READ the next correction then fails with 40001 instead of adding up
    -- without the sums that its snapshot hides
    update postmeter.usage_identity i set content = i.content where i.identity = any (identities);
    -- scalar and lateral sub-selects with a fence: look-ups by key, which no plan of another day turns into a scan
    select p.* into bad
    from (
        select c.id, c.source, c.event_id, c.corrects, case
            -- itself, or earlier corrections of it, would be missing in the sum
            when c.first_id is not null and exists (
                select from postmeter.ledger_drop d
                where d.month >= date_trunc('month', postmeter.moment_of(c.first_id) at time zone 'UTC')::date)
                then 'dropped'
            when o.id is null then 'unknown'
            when o.corrects is not null then 'correction'
            when (o.org, o.product, o.metric, o.account) is distinct from (c.org, c.product, c.metric, c.account)
                then 'meter'
            when date_trunc('month', o.used_at, 'UTC') <> date_trunc('month', c.used_at, 'UTC') then 'month'
            end as problem
        from (select u.id, u.source, u.event_id, u.corrects, u.org, u.product, u.metric, u.account, u.used_at,
                     (select i.usage_id from postmeter.usage_identity i
                      where i.identity = u.corrected_identity) as first_id
              from postmeter.usage u where u.id = any (corrected) offset 0) c
        left join lateral (select u.* from postmeter.usage u where u.id = c.first_id offset 0) o on true
    ) p
    where p.problem is not null
    order by p.id desc
    limit 1;
    if not found then
        select c.id, c.source, c.event_id, c.corrects, 'below_zero' as problem into bad
        from (select i.identity,
                     (select o.quantity from postmeter.usage o where o.id = (
                          select f.usage_id from postmeter.usage_identity f where f.identity = i.identity))
                     + (select sum(x.quantity) from postmeter.usage x where x.corrected_identity = i.identity) as rest
              from unnest(identities) i(identity) offset 0) s
        join lateral (select u.* from postmeter.usage u
                      where u.id = any (corrected) and u.corrected_identity = s.identity
                      order by u.id desc limit 1) c on true
        where s.rest < 0
        limit 1;
    end if;
    if found then
        raise exception 'usage %: corrects % %', quote_literal(bad.event_id), quote_literal(bad.corrects),
            case bad.problem
            when 'dropped' then 'names usage whose month of the ledger, or a later one, was dropped'
            when 'unknown' then format('names no usage of source %L', bad.source)
            when 'correction' then 'names a correction; correct the usage itself'
            when 'meter' then 'has another org, product, metric or account'
            when 'month' then 'is usage of another month; use its used_at'
            else 'would bring that usage below zero' end
            using errcode = case bad.problem when 'unknown' then 'PM003' when 'below_zero' then 'PM004'
                            else 'PM001' end,
                  schema = 'postmeter', table = 'outbox', column = 'corrects',
                  constraint = 'corrects_' || bad.problem;
    end if;
end
$$;
comment on function postmeter.check_corrections(uuid[]) is
    'Given the ids of usages that correct: refuses corrections of the unknown (PM003), below zero (PM004), of another meter or month, or of what may have been dropped (PM001). Locks the corrected identities in sorted order.';

-- ids -----------------------------------------------------------------------------------------------------------------

create function postmeter.id_window(out earliest uuid, out latest uuid)
language sql volatile
begin atomic
    -- an hour either way: a server's clock may be set back while a statement runs
    select postmeter.id_at(statement_timestamp() - interval '1 hour'),
           postmeter.id_at(clock_timestamp() + interval '1 hour');
end;
comment on function postmeter.id_window() is 'Between which ids those lie that the running statement makes. An id says when its row was recorded: the months of the ledger, and what looks for rows that wait, are ranges of ids.';

-- the trigger ---------------------------------------------------------------------------------------------------------

-- enable_seqscan: plans are kept for the session's life, and the first may be made over empty tables. Whatever looks
-- something up here is a scalar sub-select on a primary key, so that off means one descent of its index for each row.
create or replace function postmeter.outbox_arrived() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
declare
    settings  postmeter.setting;
    now       timestamptz;
    recorded  bigint;
    fresh     bigint;
    corrected uuid[];
    foreign_time boolean;
    bad       record;
    fault     text;
    shards    smallint[];
    repeats   uuid[];
    repeated  record;
    other     uuid;
begin
    select * into settings from postmeter.setting;
    -- what postmeter.clock() says, without asking for the row at hand again
    now := coalesce(settings.clock_frozen, clock_timestamp() + settings.clock_shift);
    select count(*), max(postmeter.usage_fault(a.source, a.event_id, a.org, a.product, a.metric, a.quantity,
                a.used_at, a.account, a.corrects, a.request_id, a.traceparent, a.attributes,
                now - settings.usage_age_max, now + settings.usage_lead_max)),
           array_agg(a.id) filter (where a.corrects is not null), bool_or(a.id < b.earliest or a.id > b.latest)
    into recorded, fault, corrected, foreign_time
    from arrived a, postmeter.id_window() b
    where not a.returned;
    if recorded = 0 then
        return null;
    end if;
    if fault is not null then
        select a.event_id, f.fault into bad
        from arrived a, lateral (select postmeter.usage_fault(a.source, a.event_id, a.org, a.product, a.metric,
                a.quantity, a.used_at, a.account, a.corrects, a.request_id, a.traceparent, a.attributes,
                now - settings.usage_age_max, now + settings.usage_lead_max)) f(fault)
        where not a.returned and f.fault is not null limit 1;
        perform postmeter.refuse_usage(bad.fault, bad.event_id);
    end if;
    if foreign_time then
        raise exception 'usage: id is not of this time'
            using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'id', constraint = 'id_of_this_time',
                  hint = 'Leave id out: the database gives it.';
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
        select array_agg(r.shard), array_agg(r.id), (array_agg(r.id) filter (where (r.known).content
                   <> postmeter.usage_content_of(r.org, r.product, r.metric, r.quantity, r.used_at, r.account, r.corrects)))[1]
        into shards, repeats, other
        from (select a.*, (select i from postmeter.usage_identity i
                           where i.identity = postmeter.usage_identity_of(a.source, a.event_id)) as known
              from arrived a where not a.returned offset 0) r
        where (r.known).usage_id <> r.id;
        if other is not null then
            -- What was recorded is not the caller's to read, and a value in a variable is: any session may have its plans
            -- printed (debug_print_plan), with what their parameters hold. Only names leave this statement.
            select a.source, a.event_id, case when f.found then array_remove(array[
                       case when f.org <> a.org then 'org' end, case when f.product <> a.product then 'product' end,
                       case when f.metric <> a.metric then 'metric' end,
                       case when f.quantity <> a.quantity then 'quantity' end,
                       case when f.used_at <> a.used_at then 'used_at' end,
                       case when f.account is distinct from a.account then 'account' end,
                       case when f.corrects is distinct from a.corrects then 'corrects' end], null) end as fields
            into bad
            from (select x.*, (select i.usage_id from postmeter.usage_identity i
                               where i.identity = postmeter.usage_identity_of(x.source, x.event_id)) as first_id
                  from arrived x where x.id = other offset 0) a
            left join lateral (
                select true as found, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects
                from postmeter.usage u where u.id = a.first_id
                union all
                select true, y.org, y.product, y.metric, y.quantity, y.used_at, y.account, y.corrects
                from arrived y where y.id = a.first_id
                limit 1) f on true;
            perform postmeter.refuse_other_content(bad.source, bad.event_id, bad.fields);
        end if;
        -- one by one: a set of ids would be a filter on its shard in a plan that was made over a small outbox
        for repeated in select r.shard, r.id from unnest(shards, repeats) r(shard, id) loop
            delete from postmeter.outbox o where o.shard = repeated.shard and o.id = repeated.id;
        end loop;
    end if;
    insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                 corrected_identity, request_id, traceparent, attributes, recorded_at)
    select a.id, a.source, a.event_id, a.org, a.product, a.metric, a.quantity, a.used_at, a.account, a.corrects,
           case when a.corrects is not null then postmeter.usage_identity_of(a.source, a.corrects) end,
           a.request_id, a.traceparent, a.attributes, now
    from arrived a
    where not a.returned
      and (fresh = recorded or a.id = (select i.usage_id from postmeter.usage_identity i
                                       where i.identity = postmeter.usage_identity_of(a.source, a.event_id)));
    if corrected is not null then
        perform postmeter.check_corrections(corrected);
    end if;
    if settings.unresolved = 'refuse' then
        perform postmeter.check_resolved(array(select a.id from arrived a where not a.returned));
    end if;
    return null;
end
$$;
comment on function postmeter.outbox_arrived() is
    'Trigger of the outbox: checks what arrived, writes identity and usage, drops identical repetitions, refuses the same id with other content (PM002).';
-- a repetition's first id is looked up by key, too
alter function postmeter.record_usage(text, text, text, text, text, numeric, timestamptz, text, text, text, text, jsonb)
    set enable_seqscan = off;
-- under session_replication_role = replica too: usage that nobody checked would be billed (what logical replication
-- applies fires no trigger for statements at all: fold sets it aside)
alter table postmeter.outbox enable always trigger arrived;

-- entries without their usage -----------------------------------------------------------------------------------------

create table postmeter.stray_entry (
    id           bigint not null generated always as identity primary key,
    usage_id     uuid   not null,
    reason       text   not null check (reason in ('without_usage', 'other_content', 'accounted_for')),
    entry        jsonb  not null check (jsonb_typeof(entry) = 'object'),
    set_aside_at timestamptz not null default postmeter.clock(),
    decision_id  bigint
);
create index stray_entry_open on postmeter.stray_entry (id) where decision_id is null;
comment on table postmeter.stray_entry is 'Outbox entries that no usage stands behind: they came around intake''s trigger (replication, a disabled trigger). Fold sets them aside and bills none. A person resolves them.';
comment on column postmeter.stray_entry.id is 'Order of setting aside.';
comment on column postmeter.stray_entry.usage_id is 'The id that the entry bore.';
comment on column postmeter.stray_entry.reason is 'without_usage: no usage has its id; other_content: the usage with its id says something else; accounted_for: that usage is allocated, held, exempt or written off already.';
comment on column postmeter.stray_entry.entry is 'The entry, whole.';
comment on column postmeter.stray_entry.set_aside_at is 'When.';
comment on column postmeter.stray_entry.decision_id is 'The decision that resolved it; null: it is open.';

create function postmeter.stray_reason(entry postmeter.outbox) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
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

create function postmeter.resolve_stray(stray bigint, record boolean, who text, why text) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    s        postmeter.stray_entry;
    e        postmeter.outbox;
    recorded uuid;
    decided  bigint;
begin
    perform postmeter.check_decider(who, why);
    select * into s from postmeter.stray_entry x where x.id = stray for update;
    if s.id is null then
        raise exception 'there is no stray entry %', stray
            using errcode = 'PM033', column = 'stray', constraint = 'stray_exists';
    elsif s.decision_id is not null then
        raise exception 'stray entry % was resolved before: decision %', stray, s.decision_id
            using errcode = 'PM033', column = 'stray', constraint = 'stray_open';
    end if;
    if record then
        e := jsonb_populate_record(null::postmeter.outbox, s.entry);
        recorded := postmeter.record_usage(e.source, e.event_id, e.org, e.product, e.metric, e.quantity, e.used_at,
                                           e.account, e.corrects, e.request_id, e.traceparent, e.attributes);
    end if;
    insert into postmeter.decision (who, why, verb, usage_id, status_before, status_after, detail)
    values (who, why, 'resolve', coalesce(recorded, s.usage_id), s.reason,
            case when record then 'recorded' else 'dropped' end,
            jsonb_build_object('stray', stray, 'source', s.entry -> 'source', 'event_id', s.entry -> 'event_id'))
    returning id into decided;
    update postmeter.stray_entry x set decision_id = decided where x.id = stray;
    return recorded;
end
$$;
comment on function postmeter.resolve_stray(bigint, boolean, text, text) is
    'A person resolves a stray entry. record: it is usage; it comes in through intake under its own source and event id (recorded before: that usage stands, nothing is added). Else nothing of it is billed. Returns the usage.';

insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('stray_entries', 'critical', '30 seconds', '0', '10 seconds');

-- months of rows in default partitions: only such as an id of ours can name, and from one to the next -----------------

create or replace function postmeter.spilled_months() returns setof date
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    parent text;
    -- nothing is recorded ahead of the server's clock: what bears such an id is no row to make months for
    last   uuid := postmeter.id_at(clock_timestamp() + interval '1 month');
    id     uuid;
    month  date;
begin
    foreach parent in array array['usage', 'allocation', 'attempt', 'outcome'] loop
        id := '00000000-0000-0000-0000-000000000000';
        loop
            -- from month to month by the index: what waits there may be much
            execute format('select d.%1$I from postmeter.%2$I d where d.%1$I >= $1 and d.%1$I < $2 order by 1 limit 1',
                           postmeter.ledger_key(parent), parent || '_default') into id using id, last;
            exit when id is null;
            month := date_trunc('month', postmeter.moment_of(id) at time zone 'UTC')::date;
            return next month;
            id := (postmeter.ledger_span(month)).until_id;
        end loop;
    end loop;
end
$$;
comment on function postmeter.spilled_months() is 'Months of which rows are in a default partition, up to the coming one.';

revoke execute on function postmeter.id_window(), postmeter.refuse_other_content(text, text, text[]), postmeter.stray_reason(postmeter.outbox),
    postmeter.resolve_stray(bigint, boolean, text, text) from public;
grant select on postmeter.stray_entry to postmeter_reader, postmeter_operator, postmeter_worker;
grant insert on postmeter.stray_entry to postmeter_worker;
grant execute on function postmeter.stray_reason(postmeter.outbox) to postmeter_worker;
grant execute on function postmeter.resolve_stray(bigint, boolean, text, text) to postmeter_operator;

insert into postmeter.migration (version, name) values (26, '0026_pre_intake_guard');
