-- 0062_pre_exports: billing exports are recorded by groups of rows; another quantity of a known group is told, and recorded if asked.
-- programs: from 0022
-- lock: none

insert into postmeter.gate (name) values ('import');

create table postmeter.import_unit (
    source text collate "C" not null,
    product text collate "C" not null,
    metric text collate "C" not null,
    unit text collate "C" not null,
    primary key (source, product, metric)
);
comment on table postmeter.import_unit is 'Which unit a metric of imported exports stands for: two units that differ in more than marks can have one tag (GB and Gb). Inserted by imports.';
comment on column postmeter.import_unit.source is 'The source of the usage.';
comment on column postmeter.import_unit.product is 'The product.';
comment on column postmeter.import_unit.metric is 'The metric: the tag of the unit.';
comment on column postmeter.import_unit.unit is 'The unit that came first, as ConsumedUnit has it, with hyphens for all marks. Rows in another one are refused.';
grant select on postmeter.import_unit to postmeter_reader, postmeter_operator, postmeter_worker, postmeter_console;

create function postmeter.import_parts(source text, names text[])
returns table (usage_id uuid, event_id text, org text, product text, metric text, account text, used_at timestamptz,
               rest numeric, is_lost boolean)
language sql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
begin atomic
    -- sub-selects with a fence: look-ups by key, which no plan of another day turns into a scan
    select n.usage_id, n.event_id, u.org, u.product, u.metric, u.account, u.used_at,
           u.quantity + coalesce((select sum(c.quantity) from postmeter.usage c
                                  where c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id)
                                    and c.corrected_id = u.id), 0),
           u.id is null
    from (select x.name as event_id, postmeter.usage_of(import_parts.source, x.name) as usage_id
          from unnest(import_parts.names) x(name) offset 0) n
    left join lateral (select s.* from postmeter.usage s where s.id = n.usage_id offset 0) u on true
    where n.usage_id is not null and u.corrects is null;
end;
comment on function postmeter.import_parts(text, text[]) is
    'The usages that were recorded under these ids of a source, with what stands of each after its corrections; corrections among them are left out. Lost: it is of a dropped month.';
revoke execute on function postmeter.import_parts(text, text[]) from public;

create function postmeter.import_known(usage jsonb, older text[], apply boolean)
returns table (verdict text, standing numeric)
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    source   text := usage ->> 'source';
    event_id text := usage ->> 'event_id';
    begins   timestamptz := postmeter.usage_time(usage ->> 'used_at');
    wanted   numeric := (usage ->> 'quantity')::numeric;
    names    text[] := array_prepend(usage ->> 'event_id', older);
    revision integer := 1;
    found_as record;
    part     record;
begin
    while postmeter.usage_of(source, event_id || ':r' || revision) is not null loop
        names := names || (event_id || ':r' || revision);
        revision := revision + 1;
    end loop;
    -- what stands of each usage is its quantity less its corrections, whoever recorded them
    select coalesce(sum(k.rest), 0) as standing, bool_or(k.is_lost) as is_lost,
           array_remove(array[
               case when bool_or(k.org <> usage ->> 'org') then 'org' end,
               case when bool_or(k.product <> usage ->> 'product') then 'product' end,
               case when bool_or(k.metric <> usage ->> 'metric') then 'metric' end,
               case when bool_or(k.used_at <> begins) then 'used_at' end,
               case when bool_or(k.account is not null) then 'account' end], null) as fields
    into found_as
    from postmeter.import_parts(source, names) k;
    if found_as.is_lost then
        raise exception 'usage %: what was recorded of it is of a month of the ledger that was dropped', quote_literal(event_id)
            using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'event_id', constraint = 'import_dropped';
    elsif found_as.fields <> '{}' then
        perform postmeter.refuse_other_content(source, event_id, found_as.fields);
    end if;
    standing := found_as.standing;
    if standing = wanted then
        verdict := 'repeated';
    elsif not apply then
        verdict := 'changed';
    elsif standing < wanted then
        perform postmeter.record_usage(
            source => source, event_id => event_id || ':r' || revision, org => usage ->> 'org', product => usage ->> 'product',
            metric => usage ->> 'metric', quantity => wanted - standing, used_at => begins,
            attributes => coalesce(usage -> 'attributes', '{}') || jsonb_build_object('revises', event_id));
        verdict := 'applied';
    else
        -- newest first: what was added last is taken back first
        for part in select k.* from postmeter.import_parts(source, names) k where k.rest > 0 order by k.usage_id desc loop
            exit when standing <= wanted;
            perform postmeter.record_usage(
                source => source, event_id => event_id || ':r' || revision, org => part.org, product => part.product,
                metric => part.metric, quantity => -least(part.rest, standing - wanted), used_at => part.used_at,
                corrects => part.event_id, attributes => jsonb_build_object('revises', event_id));
            standing := standing - least(part.rest, standing - wanted);
            revision := revision + 1;
        end loop;
        standing := found_as.standing;
        verdict := 'applied';
    end if;
    return next;
end
$$;
comment on function postmeter.import_known(jsonb, text[], boolean) is
    'Compares a group of an export with what was recorded of it: repeated, changed, or applied: then the difference was recorded, upward as a usage, downward as corrections, newest first.';
revoke execute on function postmeter.import_known(jsonb, text[], boolean) from public;

create function postmeter.import_batch(groups jsonb, apply boolean)
returns table (item integer, verdict text, standing numeric, error_code text, field text, message text)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    part        record;
    fresh       jsonb[] := '{}';
    fresh_items integer[] := '{}';
    shows       boolean := pg_has_role(session_user, 'postmeter_reader', 'usage');
begin
    -- One import at a time, for one batch; what follows is a later statement and sees what the one before recorded.
    perform postmeter.take_gate('import');
    insert into postmeter.import_unit (source, product, metric, unit)
    select distinct on (1, 2, 3) g #>> '{usage,source}', g #>> '{usage,product}', g #>> '{usage,metric}', g ->> 'unit'
    from jsonb_array_elements(groups) g
    where num_nulls(g #>> '{usage,source}', g #>> '{usage,product}', g #>> '{usage,metric}', g ->> 'unit') = 0
    on conflict do nothing;
    for part in
        select (select i.unit from postmeter.import_unit i
                where i.source = k.usage ->> 'source' and i.product = k.usage ->> 'product' and i.metric = k.usage ->> 'metric'
                  and i.unit <> k.unit) as other_unit,
               k.unit, k.item, k.usage, k.older, k.known, k.is_closed, k.base is not null as is_known,
               -- nearly always it is as it was, and nobody has touched it
               coalesce((select (u.org, u.product, u.metric, u.used_at, u.quantity) =
                                (k.usage ->> 'org', k.usage ->> 'product', k.usage ->> 'metric',
                                 postmeter.usage_time(k.usage ->> 'used_at'), (k.usage ->> 'quantity')::numeric)
                                and u.account is null and u.corrects is null
                                and not exists (select from postmeter.usage c
                                                where c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id)
                                                  and c.corrected_id = u.id)
                                and postmeter.usage_of(u.source, u.event_id || ':r1') is null
                         from postmeter.usage u where u.id = k.base) and k.known = '{}', false) as is_same
        from (
            select g.ordinality::integer as item, g.given -> 'usage' as usage, g.given ->> 'unit' as unit, o.older, o.known,
                   coalesce((g.given ->> 'closed')::boolean, false) as is_closed,
                   postmeter.usage_of(g.given #>> '{usage,source}', g.given #>> '{usage,event_id}') as base
            from jsonb_array_elements(groups) with ordinality g(given, ordinality)
            cross join lateral (
                select coalesce(array_agg(e.id), '{}') as older,
                       coalesce(array_agg(e.id) filter (
                           where postmeter.usage_of(g.given #>> '{usage,source}', e.id) is not null), '{}') as known
                from jsonb_array_elements_text(g.given -> 'older') e(id) offset 0) o
            offset 0) k
        order by 1
    loop
        item := part.item;
        standing := null; error_code := null; field := null; message := null;
        if part.other_unit is not null or (part.is_same and not part.is_closed) then
            verdict := 'repeated';
            if part.other_unit is not null then
                verdict := 'refused'; error_code := 'PM001'; field := 'ConsumedUnit';
                message := format('is %s, and the metric %s of %s is in %s so far: they are different units with one tag',
                                  part.unit, part.usage ->> 'metric', part.usage ->> 'product', part.other_unit);
            end if;
            return next;
            continue;
        end if;
        if part.is_known and part.is_closed and part.known is distinct from part.older then
            -- an older version recorded beside this one: what stands here may not be all of it
            verdict := 'other_rule';
        elsif part.is_known or (part.older <> '{}' and part.known = part.older) then
            begin
                select k.verdict, k.standing into verdict, standing from postmeter.import_known(part.usage, part.known, apply) k;
            exception when others then
                get stacked diagnostics error_code = returned_sqlstate, field = column_name, message = message_text;
                if error_code !~ '^(22|23|PM)' then
                    raise;
                end if;
                verdict := 'refused';
                standing := null;
                field := nullif(field, '');
            end;
            -- what was recorded is not a producer's to read
            standing := case when shows then standing end;
        elsif part.is_closed then
            verdict := 'other_rule';
        elsif (part.usage ->> 'quantity')::numeric = 0 then
            verdict := 'zero';
        else
            fresh := fresh || part.usage;
            fresh_items := fresh_items || item;
            continue;
        end if;
        return next;
    end loop;
    if fresh <> '{}' then
        return query
        select fresh_items[r.item], r.verdict, null::numeric, r.error_code, r.field, r.message
        from postmeter.record_usage_batch(to_jsonb(fresh)) r;
    end if;
end
$$;
comment on function postmeter.import_batch(jsonb, boolean) is
    'Records groups of an export''s rows, each once: new ones as usage; known ones are compared, and with apply their difference is recorded. closed: its time was recorded by another rule of ids, so it is taken only under the ids in older.';
revoke execute on function postmeter.import_batch(jsonb, boolean) from public;
grant execute on function postmeter.import_batch(jsonb, boolean) to postmeter_producer;

create function postmeter.import_times(source text, prefix text, orgs text[])
returns table (org text, first_used_at timestamptz, last_used_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
#variable_conflict use_column
declare
    -- ids of this rule lie between the two, in the order of collation C
    until text := left(prefix, -1) || chr(ascii(right(prefix, 1)) + 1);
begin
    -- plpgsql, so that the tables are looked up by name: they are others after each turn
    return query
    select o.org, min(u.used_at), max(u.used_at)
    from (
        select i.usage_id from postmeter.usage_identity i where i.source = import_times.source and i.event_id < prefix
        union all
        select i.usage_id from postmeter.usage_identity i where i.source = import_times.source and i.event_id >= until
        union all
        select b.usage_id from postmeter.usage_identity_before b where b.source = import_times.source and b.event_id < prefix
        union all
        select b.usage_id from postmeter.usage_identity_before b where b.source = import_times.source and b.event_id >= until
    ) k
    join postmeter.usage u on u.id = k.usage_id
    -- an id does not tell orgs apart that differ in case or in white space around them
    join unnest(orgs) o(org) on lower(btrim(o.org)) = lower(btrim(u.org))
    -- an import of exports has always kept this of a row, and nobody else does
    where u.attributes ? 'charge_period_start' and u.corrects is null
    group by 1;
end
$$;
comment on function postmeter.import_times(text, text, text[]) is
    'For each of these orgs the time of which a source holds usage that an import of exports recorded under ids that do not begin with the prefix: by an older version, or with another --id.';
revoke execute on function postmeter.import_times(text, text, text[]) from public;
grant execute on function postmeter.import_times(text, text, text[]) to postmeter_producer;

insert into postmeter.migration (version, name) values (62, '0062_pre_exports');
