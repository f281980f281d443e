-- Importing usage of exports.

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
    'The usages that were recorded under these ids of a source, with what stands of each after its corrections; '
    'corrections among them are left out. Lost: it is of a dropped month.';

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
        select b.usage_id from postmeter.usage_identity_before b where b.source = import_times.source
            and b.event_id < prefix
        union all
        select b.usage_id from postmeter.usage_identity_before b where b.source = import_times.source
            and b.event_id >= until
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
    'For programs before 0065, which ask for this themselves: for each of these orgs the time of which a source '
    'holds usage that an import of exports recorded under ids that do not begin with the prefix. import_batch '
    'knows it from import_period.';

create function postmeter.hours_of_other_recipes(source text, hours timestamptz[], recipe text, query text)
returns setof timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
declare
    moment timestamptz;
    head text;
    own_from text;
    own_until text;
    first_usage uuid;
begin
    foreach moment in array hours loop
        head := to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z/"');
        own_from := head || coalesce('recipe-' || recipe || '/', '');
        -- ids of queries go on with a hexadecimal digit; 0 comes right after /
        own_until := head || coalesce('recipe-' || recipe || '0', 'g');
        -- by name: the tables are others after each turn
        if exists (select from postmeter.usage_identity i
                   where i.source = hours_of_other_recipes.source and i.event_id >= head and i.event_id < own_from)
        or exists (select from postmeter.usage_identity i
                   where i.source = hours_of_other_recipes.source and i.event_id >= own_until
                     and i.event_id < left(head, -1) || '0')
        or exists (select from postmeter.usage_identity_before i
                   where i.source = hours_of_other_recipes.source and i.event_id >= head and i.event_id < own_from)
        or exists (select from postmeter.usage_identity_before i
                   where i.source = hours_of_other_recipes.source and i.event_id >= own_until
                     and i.event_id < left(head, -1) || '0') then
            return next moment;
        elsif recipe is null then
            first_usage := coalesce(
                (select i.usage_id from postmeter.usage_identity i
                 where i.source = hours_of_other_recipes.source and i.event_id >= own_from and i.event_id < own_until
                 order by i.event_id limit 1),
                (select i.usage_id from postmeter.usage_identity_before i
                 where i.source = hours_of_other_recipes.source and i.event_id >= own_from and i.event_id < own_until
                 order by i.event_id limit 1));
            if exists (select from postmeter.usage u
                       where u.id = first_usage and u.attributes ->> 'query' <> hours_of_other_recipes.query) then
                return next moment;
            end if;
        end if;
    end loop;
end
$$;
comment on function postmeter.hours_of_other_recipes(text, timestamptz[], text, text) is
    'Those among the hours for which an import recorded usage of the source under another recipe (or, where the '
    'recipe is null, another query): they must not be recorded again under this one. Event ids of imports begin '
    'with their hour; those of a recipe go on with recipe-, its name and a slash.';

create function postmeter.import_known(
    usage jsonb, older text[], begins timestamptz, ends timestamptz, apply boolean
) returns table (verdict text, standing numeric, has_moved boolean)
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    source   text := usage ->> 'source';
    event_id text := usage ->> 'event_id';
    used     timestamptz := postmeter.usage_time(usage ->> 'used_at');
    wanted   numeric := (usage ->> 'quantity')::numeric;
    names    text[] := postmeter.import_names(usage ->> 'source', usage ->> 'event_id');
    revision integer := cardinality(names);
    found_as record;
    recorded_end timestamptz;
    flaw     text;
    part     record;
begin
    -- what stands of each usage is its quantity less its corrections, whoever recorded them
    select coalesce(sum(k.rest), 0) as standing, bool_or(k.is_lost) as is_lost, min(k.org) as org,
           max(postmeter.import_moment(u.attributes ->> 'charge_period_end')) filter (where k.event_id = names[1]) as
               ended,
           array_remove(array[
               -- some providers change the case of an id
               case when bool_or(lower(btrim(k.org)) <> lower(btrim(usage ->> 'org'))) then 'org' end,
               case when bool_or(k.product <> usage ->> 'product') then 'product' end,
               case when bool_or(k.metric <> usage ->> 'metric') then 'metric' end,
               case when bool_or(k.used_at <> used) then 'used_at' end,
               case when bool_or(k.account is not null) then 'account' end], null) as fields
    into found_as
    from postmeter.import_parts(source, names || older) k
    left join lateral (select s.attributes from postmeter.usage s where s.id = k.usage_id offset 0) u on true;
    if found_as.is_lost then
        raise exception 'usage %: what was recorded of it is of a month of the ledger that was dropped',
            quote_literal(event_id)
            using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'event_id',
                constraint = 'import_dropped';
    elsif found_as.fields <> '{}' then
        perform postmeter.refuse_other_content(source, event_id, found_as.fields);
    end if;
    standing := found_as.standing;
    recorded_end := coalesce((select e.ends_at from postmeter.import_end e
                              where e.source = usage ->> 'source' and e.event_id = usage ->> 'event_id'),
                                  found_as.ended);
    -- the first hour of a day begins with the day
    flaw := case when found_as.standing > 0 and recorded_end > ends
                 then 'it was recorded for a longer charge period: import one granularity of a time, hours or days'
                 else postmeter.import_overlap(source, event_id, begins, ends) end;
    has_moved := flaw is null and ends is distinct from coalesce(recorded_end, 'infinity') and ends is not null
                 and (standing = wanted or apply);
    if has_moved then
        insert into postmeter.import_end as e (source, event_id, ends_at) values (usage ->> 'source',
            usage ->> 'event_id', ends)
        on conflict on constraint import_end_pkey do update set ends_at = excluded.ends_at;
    end if;
    if standing = wanted then
        verdict := 'repeated';
        return next;
        return;
    end if;
    if flaw is not null then
        raise exception '%', flaw
            using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'ChargePeriodEnd',
                constraint = 'import_overlap';
    end if;
    if not apply then
        verdict := 'changed';
    elsif standing < wanted then
        perform postmeter.record_usage(
            source => source, event_id => event_id || ':r' || revision, org => found_as.org,
                product => usage ->> 'product',
            metric => usage ->> 'metric', quantity => wanted - standing, used_at => used,
            attributes => coalesce(usage -> 'attributes', '{}') || jsonb_build_object('revises', event_id));
        verdict := 'applied';
    else
        -- newest first: what was added last is taken back first
        for part in select k.* from postmeter.import_parts(source, names || older) k where k.rest > 0
            order by k.usage_id desc loop
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
comment on function postmeter.import_known(jsonb, text[], timestamptz, timestamptz, boolean) is
    'Compares a group of an export with what was recorded of it: repeated, changed, or applied: then the '
    'difference was recorded, upward as a usage, downward as corrections, newest first. Another granularity of the '
    'same time is no difference and is refused.';

create function postmeter.import_batch(groups jsonb, apply boolean)
returns table (item integer, verdict text, standing numeric, error_code text, field text, message text,
    known_from timestamptz, known_until timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    part        record;
    other       text;
    fresh       jsonb[] := '{}';
    fresh_items integer[] := '{}';
    fresh_units text[] := '{}';
    fresh_times tstzrange[] := '{}';
    taken       integer[] := '{}';
    touched     jsonb[] := '{}';
    touched_times tstzrange[] := '{}';
    moved       boolean;
    shows       boolean := pg_has_role(session_user, 'postmeter_reader', 'usage');
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'an import compares with what others have just recorded, which this transaction cannot see'
            using errcode = '25001', hint
                = 'Call import_batch in a transaction with the isolation level read committed.';
    end if;
    if jsonb_array_length(groups) > 1000 then
        raise exception 'a batch has at most 1000 groups, and this one has %',
            jsonb_array_length(groups) using errcode = 'PM001';
    end if;
    -- One import at a time, for one batch; what follows is a later statement and sees what the one before recorded.
    perform postmeter.take_gate('import');
    perform postmeter.look_at_source(s.source)
    from (select distinct g #>> '{usage,source}' as source from jsonb_array_elements(groups) g) s
        where s.source is not null;
    insert into postmeter.import_list (source, list)
    select distinct g #>> '{usage,source}', postmeter.import_list_of(g #>> '{usage,event_id}')
    from jsonb_array_elements(groups) g
    where octet_length(g #>> '{usage,source}') between 1 and 255
    on conflict do nothing;
    for part in select f.* from postmeter.import_found(groups) f loop
        item := part.item;
        standing := null; error_code := null; field := null; message := null;
        known_from := part.known_from; known_until := part.known_until;
        verdict := 'refused';
        if part.other_unit is not null then
            error_code := 'PM001'; field := 'ConsumedUnit';
            message := format('is %s, and the metric %s of %s is in %s so far: they are different units with one tag',
                              part.unit, part.usage ->> 'metric', part.usage ->> 'product', part.other_unit);
        elsif part.is_same then
            verdict := 'repeated';
        elsif part.is_known and part.known <> '{}' and part.known <> part.older then
            -- an older version recorded beside this one: what stands here may not be all of it
            verdict := 'other_rule';
        elsif part.is_known or (part.older <> '{}' and part.known = part.older) then
            begin
                select k.verdict, k.standing, k.has_moved into verdict, standing, moved
                from postmeter.import_known(part.usage, part.known, part.begins, part.ends, apply) k;
            exception when others then
                get stacked diagnostics error_code = returned_sqlstate, field = column_name, message = message_text;
                if error_code !~ '^(22|23|PM)' then
                    raise;
                end if;
                verdict := 'refused';
                standing := null;
                moved := false;
                field := nullif(field, '');
            end;
            if moved or verdict = 'applied' then
                touched := touched || part.usage;
                touched_times := touched_times || case when part.ends > part.begins
                    then tstzrange(part.begins, part.ends) else 'empty' end;
            end if;
            -- what was recorded is not a producer's to read
            standing := case when shows then standing end;
        elsif part.known_from is not null then
            verdict := 'other_rule';
        elsif (part.usage ->> 'quantity')::numeric = 0 then
            verdict := 'zero';
        else
            other := coalesce(
                'the same usage is recorded in the source ' || part.twin
                    || ' already: it has two providers in these files, name ProviderName in --id',
                postmeter.import_elsewhere(part.usage, part.begins, part.ends, part.is_named));
            message := case
                when other is not null then other
                when part.is_held then
                    'a row before it holds some of the same time of the same usage: import one granularity of a '
                        'time, hours or days, '
                    'or name the column in --id that tells the two apart'
                else postmeter.import_overlap(part.usage ->> 'source', part.usage ->> 'event_id', part.begins,
                    part.ends) end;
            if message is null then
                fresh := fresh || part.usage;
                fresh_items := fresh_items || item;
                fresh_units := fresh_units || part.unit;
                fresh_times := fresh_times || case when part.ends > part.begins then tstzrange(part.begins, part.ends)
                    else 'empty' end;
                continue;
            end if;
            error_code := 'PM001';
            field := case when other is not null then 'ProviderName' else 'ChargePeriodEnd' end;
        end if;
        return next;
    end loop;
    if touched <> '{}' then
        perform postmeter.import_recorded(to_jsonb(touched), array[]::text[], touched_times);
    end if;
    known_from := null; known_until := null; standing := null;
    if fresh = '{}' then
        return;
    end if;
    for part in select r.* from postmeter.record_usage_batch(to_jsonb(fresh)) r loop
        item := fresh_items[part.item];
        verdict := part.verdict; error_code := part.error_code; field := part.field; message := part.message;
        if verdict <> 'refused' then
            taken := taken || part.item;
        end if;
        return next;
    end loop;
    if taken <> '{}' then
        perform postmeter.import_recorded(
            jsonb_agg(fresh[t.item] order by t.item), array_agg(fresh_units[t.item] order by t.item),
            array_agg(fresh_times[t.item] order by t.item))
        from unnest(taken) t(item);
    end if;
end
$$;
comment on function postmeter.import_batch(jsonb, boolean) is
    'Records groups of an export''s rows, each once: new ones as usage; known ones are compared, and with apply '
    'their difference is recorded. begins and ends: the charge period, as the file has it. older: the ids that an '
    'older version gave the rows, wanted where begin_import says so. other_rule: another list of columns recorded '
    'usage of this org from known_from until known_until, and the group is not found among it.';
