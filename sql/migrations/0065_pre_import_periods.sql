-- 0065_pre_import_periods: what was imported of which time, by which list of columns, is kept; nothing is billed again by another list, granularity or name of a provider.
-- programs: from 0022
-- lock: none

create table postmeter.import_list (
    source text collate "C" not null check (octet_length(source) between 1 and 255),
    list text collate "C" not null check (octet_length(list) <= 255),
    primary key (source, list)
);
comment on table postmeter.import_list is 'By which lists of identifying columns exports were imported into a source. A source that is not here was never looked at.';
comment on column postmeter.import_list.source is 'The source of the usage.';
comment on column postmeter.import_list.list is 'What the event ids of this list begin with; empty: ids that an older version or something else gave.';

create table postmeter.import_period (
    org text collate "C" not null,
    source text collate "C" not null,
    list text collate "C" not null,
    first_used_at timestamptz not null,
    ends_at timestamptz not null,
    primary key (org, source, list)
);
comment on table postmeter.import_period is 'From when until when usage of an org was imported from exports. What another list of columns says of that time may be the same usage, and is refused.';
comment on column postmeter.import_period.org is 'The org, in lower case and without white space around it, as event ids take it.';
comment on column postmeter.import_period.source is 'The source of the usage.';
comment on column postmeter.import_period.list is 'By which list of columns, as in import_list.';
comment on column postmeter.import_period.first_used_at is 'When the first of it was used.';
comment on column postmeter.import_period.ends_at is 'When the last charge period of it ends; where no end was given, just after its begin.';
create table postmeter.import_end (
    source text collate "C" not null,
    event_id text collate "C" not null,
    ends_at timestamptz not null,
    primary key (source, event_id)
);
comment on table postmeter.import_end is 'The end of a charge period that is another one now than its usage was recorded with: it still ran then, or it was taken back and recorded for another period.';
comment on column postmeter.import_end.source is 'The source of the usage.';
comment on column postmeter.import_end.event_id is 'The event id of the group: its first usage.';
comment on column postmeter.import_end.ends_at is 'When its charge period ends, as far as it is recorded.';

grant select on postmeter.import_list, postmeter.import_period, postmeter.import_end
    to postmeter_reader, postmeter_operator, postmeter_worker, postmeter_console;

-- small parts -----------------------------------------------------------------------------------------------------------

create function postmeter.import_list_of(event_id text) returns text
language sql immutable parallel safe
begin atomic
    select coalesce(substring(event_id from '^export:[0-9a-z]{1,32}:'), '');
end;
comment on function postmeter.import_list_of(text) is 'Which list of columns an event id of an import was made by.';
revoke execute on function postmeter.import_list_of(text) from public;

create function postmeter.import_moment(said text) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, MDY'
as $$
begin
    return case when octet_length(said) between 10 and 64 and said::timestamptz between '1900-01-01' and '2200-01-01'
                then said::timestamptz end;
exception when data_exception or invalid_parameter_value then
    return null;
end
$$;
comment on function postmeter.import_moment(text) is 'A time of an export; null where it is none. Without a zone it is UTC, as FOCUS says.';
revoke execute on function postmeter.import_moment(text) from public;

create function postmeter.import_ends(used_at timestamptz, begins timestamptz, ends timestamptz) returns timestamptz
language sql immutable parallel safe
begin atomic
    -- hours are moved by --shift, and how long a period is stays; a month is the longest that exports have
    select used_at + case when ends > begins then least(ends - begins, interval '32 days') else interval '1 microsecond' end;
end;
comment on function postmeter.import_ends(timestamptz, timestamptz, timestamptz) is 'When the charge period of a usage ends; just after its begin where no end is known.';
revoke execute on function postmeter.import_ends(timestamptz, timestamptz, timestamptz) from public;

create function postmeter.import_unit_key(unit text) returns text
language sql immutable parallel safe
begin atomic
    select string_agg(
        -- GB and Gb, mW and MW, ms and Ms are two units; Hours and hours, Hrs and hrs, Mo and mo are one
        case when length(w.word) = 1 or lower(w.word) ~ '^[kmgtpezy]?i?b([^aeiouy]|$)' or lower(w.word) ~ '^m[^aeiou]{1,2}$'
             then w.word else lower(w.word) end,
        '-' order by w.place)
    from regexp_split_to_table(left(unit, 200), '-') with ordinality w(word, place);
end;
comment on function postmeter.import_unit_key(text) is 'A unit, as far as another one is another unit: words are the same in any case, but for bits and bytes, milli and mega.';
revoke execute on function postmeter.import_unit_key(text) from public;
update postmeter.import_unit set unit = postmeter.import_unit_key(unit) where unit <> postmeter.import_unit_key(unit);
comment on table postmeter.import_unit is 'Which unit a metric of imported exports stands for: two units that differ in more than marks and case can have one tag (GB and Gb). Inserted by imports, with the first usage.';

create function postmeter.import_names(source text, event_id text) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    names text[] := array[event_id];
begin
    while postmeter.usage_of(source, event_id || ':r' || cardinality(names)) is not null loop
        names := names || (event_id || ':r' || cardinality(names));
    end loop;
    return names;
end
$$;
comment on function postmeter.import_names(text, text) is 'The event id of a group and those of the revisions that imports recorded of it.';
revoke execute on function postmeter.import_names(text, text) from public;

create function postmeter.import_standing(source text, event_id text) returns numeric
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(sum(k.rest), 0)
    from postmeter.import_parts(import_standing.source, postmeter.import_names(import_standing.source, import_standing.event_id)) k;
end;
comment on function postmeter.import_standing(text, text) is 'What stands of a group: the usage that was recorded of it less all corrections.';
revoke execute on function postmeter.import_standing(text, text) from public;

-- what must not be billed again -----------------------------------------------------------------------------------------

create function postmeter.import_overlap(source text, event_id text, begins timestamptz, ends timestamptz) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    head  text := postmeter.import_list_of(event_id);
    own   text := split_part(event_id, ':', 4);
    names text[];
    part  record;
    began timestamptz;
    ended timestamptz;
begin
    if own = '' or ends is null or begins is null or ends <= begins then
        return null;
    end if;
    -- exports are by the hour, the day or the month: what begins before could hold it, what begins within is held
    select array_agg(head || to_char(at.moment, 'YYYYMMDD"T"HH24MISS"Z:"') || own) into names
    from (
        select m.moment from unnest(array[date_trunc('hour', begins), date_trunc('day', begins), date_trunc('month', begins)]) m(moment)
        where m.moment < begins
        union
        select h.moment
        from generate_series(
            date_trunc('hour', begins), least(ends, begins + interval '32 days') - interval '1 microsecond',
            case when ends - begins <= interval '1 day' then interval '15 minutes' else interval '1 hour' end) h(moment)
        where h.moment > begins
    ) at;
    for part in
        -- By name: the tables are others after each turn. Fences: look-ups by the whole key, whatever the statistics say.
        select n.event_id, coalesce(i.usage_id, o.usage_id) as usage_id
        from unnest(names) n(event_id)
        left join lateral (select y.usage_id from postmeter.usage_identity y
                           where y.source = import_overlap.source and y.event_id = n.event_id offset 0) i on true
        left join lateral (select y.usage_id from postmeter.usage_identity_before y
                           where y.source = import_overlap.source and y.event_id = n.event_id offset 0) o on true
        where i.usage_id is not null or o.usage_id is not null
        order by 1
    loop
        -- by a variable: all months but one are left out before anything of them is opened
        select coalesce((select e.ends_at from postmeter.import_end e
                         where e.source = import_overlap.source and e.event_id = part.event_id),
                        postmeter.import_moment(u.attributes ->> 'charge_period_end')) into ended
        from postmeter.usage u where u.id = part.usage_id;
        began := to_timestamp(split_part(part.event_id, ':', 3), 'YYYYMMDD"T"HH24MISS');
        if (began > begins or ended > begins) and postmeter.import_standing(source, part.event_id) > 0 then
            return format('this usage is recorded already, by its charge period from %s until %s: import one granularity of a time, '
                          'hours or days, or name the column in --id that tells the two apart', to_char(began, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                          coalesce(to_char(ended, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'an end that it does not say'));
        end if;
    end loop;
    return null;
end
$$;
comment on function postmeter.import_overlap(text, text, timestamptz, timestamptz) is
    'Why a group must not be recorded beside what is: the same who, what and where is recorded for a longer or shorter period that holds some of its time. Null: nothing is. What was corrected to zero is in nobody''s way.';
revoke execute on function postmeter.import_overlap(text, text, timestamptz, timestamptz) from public;

create function postmeter.import_elsewhere(usage jsonb, begins timestamptz, ends timestamptz, is_named boolean) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
    own_source text := usage ->> 'source';
    own_id     text := usage ->> 'event_id';
    own_time   timestamptz := postmeter.import_moment(usage ->> 'used_at');
    until      timestamptz := postmeter.import_ends(own_time, begins, ends);
    other      record;
    twin       uuid;
begin
    for other in
        select p.source, p.list from postmeter.import_period p
        where p.org = lower(btrim(usage ->> 'org')) and p.source <> own_source
          and p.first_used_at < until and p.ends_at > own_time
        order by p.source, p.list limit 100
    loop
        if other.list <> postmeter.import_list_of(own_id) then
            if not is_named then
                return format('the source %s holds usage of %s of this time by other columns: name the --source, the same one if the '
                              'provider has another name now, %s if it is another provider', other.source, usage ->> 'org', own_source);
            end if;
            continue;
        end if;
        twin := postmeter.usage_of(other.source, own_id);
        if twin is not null and exists (select from postmeter.usage u where u.id = twin and u.used_at = own_time)
           and postmeter.import_standing(other.source, own_id) > 0
           -- what is played into another time is other usage
           or begins = own_time and postmeter.import_overlap(other.source, own_id, begins, ends) is not null then
            return format('the same usage is recorded in the source %s already: name that --source if the provider has another name now; '
                          'if it is another provider, name ProviderName in --id, with the columns of before', other.source);
        end if;
    end loop;
    return null;
end
$$;
comment on function postmeter.import_elsewhere(jsonb, timestamptz, timestamptz, boolean) is
    'Why a group must not be recorded beside what another source holds: the same group of the same time, or a longer or shorter period of it, is recorded there, as if the provider''s name, of which a source is made, had changed; or that source has usage of the org and time by other columns, and nobody named this one. Null: nothing is.';
revoke execute on function postmeter.import_elsewhere(jsonb, timestamptz, timestamptz, boolean) from public;

create function postmeter.look_at_source(source text) returns void
language plpgsql set search_path = pg_catalog, pg_temp set jit = off
as $$
#variable_conflict use_column
begin
    if exists (select from postmeter.import_list l where l.source = look_at_source.source) then
        return;
    end if;
    insert into postmeter.import_period (org, source, list, first_used_at, ends_at)
    select lower(btrim(u.org)), u.source, postmeter.import_list_of(k.event_id), min(u.used_at),
           max(postmeter.import_ends(u.used_at, postmeter.import_moment(u.attributes ->> 'charge_period_start'),
                                     postmeter.import_moment(u.attributes ->> 'charge_period_end')))
    from (
        -- by name: the tables are others after each turn
        select i.event_id, i.usage_id from postmeter.usage_identity i where i.source = look_at_source.source
        union all
        select b.event_id, b.usage_id from postmeter.usage_identity_before b where b.source = look_at_source.source
    ) k
    join postmeter.usage u on u.id = k.usage_id
    -- an import of exports has always kept this of a row, and nobody else does
    where u.attributes ? 'charge_period_start' and u.corrects is null
    group by 1, 2, 3
    on conflict do nothing;
    insert into postmeter.import_unit (source, product, metric, unit)
    select distinct on (u.product, u.metric) look_at_source.source, u.product, u.metric,
           postmeter.import_unit_key(btrim(regexp_replace(replace(u.attributes ->> 'unit', '/', ' per '), '[^A-Za-z0-9]+', '-', 'g'), '-'))
    from (
        select i.usage_id from postmeter.usage_identity i where i.source = look_at_source.source
        union all
        select b.usage_id from postmeter.usage_identity_before b where b.source = look_at_source.source
    ) k
    join postmeter.usage u on u.id = k.usage_id
    where u.attributes ? 'charge_period_start' and u.corrects is null
      -- which characters are letters beyond these, a database may see otherwise than the program
      and u.attributes ->> 'unit' ~ '[A-Za-z0-9]' and u.attributes ->> 'unit' !~ '[^\x20-\x7e]'
    order by u.product, u.metric, u.id
    on conflict do nothing;
    insert into postmeter.import_list (source, list)
    select distinct p.source, p.list from postmeter.import_period p where p.source = look_at_source.source
    on conflict do nothing;
end
$$;
comment on function postmeter.look_at_source(text) is
    'Once for each source, before the first import into it: finds the periods and units of what older versions imported. Reads all usage of the source. The caller holds the gate import.';
revoke execute on function postmeter.look_at_source(text) from public;

create function postmeter.begin_import(source text, list text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if not exists (select from postmeter.import_list l where l.source = begin_import.source and l.list = begin_import.list) then
        perform postmeter.take_gate('import');
        perform postmeter.look_at_source(source);
        insert into postmeter.import_list (source, list) values (source, list) on conflict do nothing;
    end if;
    return exists (select from postmeter.import_list l where l.source = begin_import.source and l.list <> begin_import.list);
end
$$;
comment on function postmeter.begin_import(text, text) is
    'Before an import: whether the source holds usage of exports under other ids than those of this list of columns. Then import_batch wants the older ids of each group. The first time for a source it reads all of its usage.';
revoke execute on function postmeter.begin_import(text, text) from public;
grant execute on function postmeter.begin_import(text, text) to postmeter_producer;

-- recording -------------------------------------------------------------------------------------------------------------

-- squawk-ignore ban-drop-function -- nobody may call it but import_batch
drop function postmeter.import_known(jsonb, text[], boolean);
create function postmeter.import_known(usage jsonb, older text[], begins timestamptz, ends timestamptz, apply boolean)
returns table (verdict text, standing numeric, has_moved boolean)
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
           max(postmeter.import_moment(u.attributes ->> 'charge_period_end')) filter (where k.event_id = names[1]) as ended,
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
        raise exception 'usage %: what was recorded of it is of a month of the ledger that was dropped', quote_literal(event_id)
            using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'event_id', constraint = 'import_dropped';
    elsif found_as.fields <> '{}' then
        perform postmeter.refuse_other_content(source, event_id, found_as.fields);
    end if;
    standing := found_as.standing;
    recorded_end := coalesce((select e.ends_at from postmeter.import_end e
                              where e.source = usage ->> 'source' and e.event_id = usage ->> 'event_id'), found_as.ended);
    -- the first hour of a day begins with the day
    flaw := case when found_as.standing > 0 and recorded_end > ends
                 then 'it was recorded for a longer charge period: import one granularity of a time, hours or days'
                 else postmeter.import_overlap(source, event_id, begins, ends) end;
    has_moved := flaw is null and ends is distinct from coalesce(recorded_end, 'infinity') and ends is not null
                 and (standing = wanted or apply);
    if has_moved then
        insert into postmeter.import_end as e (source, event_id, ends_at) values (usage ->> 'source', usage ->> 'event_id', ends)
        on conflict on constraint import_end_pkey do update set ends_at = excluded.ends_at;
    end if;
    if standing = wanted then
        verdict := 'repeated';
        return next;
        return;
    end if;
    if flaw is not null then
        raise exception '%', flaw
            using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'ChargePeriodEnd', constraint = 'import_overlap';
    end if;
    if not apply then
        verdict := 'changed';
    elsif standing < wanted then
        perform postmeter.record_usage(
            source => source, event_id => event_id || ':r' || revision, org => found_as.org, product => usage ->> 'product',
            metric => usage ->> 'metric', quantity => wanted - standing, used_at => used,
            attributes => coalesce(usage -> 'attributes', '{}') || jsonb_build_object('revises', event_id));
        verdict := 'applied';
    else
        -- newest first: what was added last is taken back first
        for part in select k.* from postmeter.import_parts(source, names || older) k where k.rest > 0 order by k.usage_id desc loop
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
    'Compares a group of an export with what was recorded of it: repeated, changed, or applied: then the difference was recorded, upward as a usage, downward as corrections, newest first. Another granularity of the same time is no difference and is refused.';
revoke execute on function postmeter.import_known(jsonb, text[], timestamptz, timestamptz, boolean) from public;

create function postmeter.import_found(groups jsonb)
returns table (item integer, usage jsonb, unit text, other_unit text, older text[], known text[], is_known boolean, is_same boolean,
               begins timestamptz, ends timestamptz, is_named boolean, known_from timestamptz, known_until timestamptz,
               twin text, is_held boolean)
language sql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
    with said as materialized (
        select g.ordinality::integer as item, g.given -> 'usage' as usage, postmeter.import_unit_key(g.given ->> 'unit') as unit,
               g.given -> 'older' as older, g.given #>> '{usage,source}' as source, g.given #>> '{usage,event_id}' as event_id,
               postmeter.import_list_of(g.given #>> '{usage,event_id}') as list, lower(btrim(g.given #>> '{usage,org}')) as org,
               nullif(split_part(g.given #>> '{usage,event_id}', ':', 4), '') as own,
               postmeter.import_moment(g.given #>> '{usage,used_at}') as used_at,
               postmeter.import_moment(g.given ->> 'begins') as begins, postmeter.import_moment(g.given ->> 'ends') as ends,
               (g.given ->> 'is_named') is not distinct from 'true' as is_named,
               postmeter.usage_quantity(g.given #> '{usage,quantity}') as quantity
        from jsonb_array_elements(groups) with ordinality g(given, ordinality)
    ), met as materialized (
        -- what stands before it in the same batch
        select s.item, min(b.source) filter (where b.source <> s.source and b.event_id = s.event_id and b.used_at = s.used_at) as twin,
               bool_or(b.source = s.source and b.list = s.list and b.event_id <> s.event_id
                       and b.begins < s.ends and b.ends > s.begins) as is_held
        from said s join said b on b.own = s.own and b.item < s.item and b.quantity > 0
        group by s.item
    )
    select s.item, s.usage, s.unit,
           (select i.unit from postmeter.import_unit i
            where i.source = s.source and i.product = s.usage ->> 'product' and i.metric = s.usage ->> 'metric' and i.unit <> s.unit),
           o.older, o.known, b.base is not null,
           -- nearly always it is as it was, and nobody has touched it
           coalesce((select (lower(btrim(u.org)), u.product, u.metric, u.used_at, u.quantity) =
                            (s.org, s.usage ->> 'product', s.usage ->> 'metric', s.used_at, s.quantity)
                            and (s.ends is null or s.ends = coalesce(
                                (select e.ends_at from postmeter.import_end e where e.source = s.source and e.event_id = s.event_id),
                                postmeter.import_moment(u.attributes ->> 'charge_period_end')))
                            and u.account is null and u.corrects is null
                            and not exists (select from postmeter.usage c
                                            where c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id)
                                              and c.corrected_id = u.id)
                            and postmeter.usage_of(u.source, u.event_id || ':r1') is null
                     from postmeter.usage u where u.id = b.base) and o.known = '{}', false),
           s.begins, s.ends, s.is_named, p.known_from, p.known_until, m.twin, coalesce(m.is_held, false)
    from said s
    left join met m on m.item = s.item
    cross join lateral (select postmeter.usage_of(s.source, s.event_id) as base offset 0) b
    cross join lateral (
        select min(p.first_used_at) as known_from, max(p.ends_at) as known_until
        from postmeter.import_period p
        where p.org = s.org and p.source = s.source and p.list <> s.list
          and p.first_used_at < postmeter.import_ends(s.used_at, s.begins, s.ends) and p.ends_at > s.used_at
        offset 0) p
    cross join lateral (
        select coalesce(array_agg(e.id), '{}') as older,
               coalesce(array_agg(e.id) filter (where postmeter.usage_of(s.source, e.id) is not null), '{}') as known
        from jsonb_array_elements_text(s.older) e(id)
        -- ids of older versions can only be of a time that was imported by them
        where p.known_from is not null
        offset 0) o
    order by s.item
$$;
comment on function postmeter.import_found(jsonb) is
    'For each group of a batch what is known of it: its unit, its older ids, its usage, whether it is as it was, from when until when another list recorded usage of its org, and what stands before it in the batch: a twin of another source, or an overlapping period.';
revoke execute on function postmeter.import_found(jsonb) from public;

create function postmeter.import_recorded(usages jsonb, units text[], periods tstzrange[]) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
    insert into postmeter.import_unit (source, product, metric, unit)
    select distinct on (1, 2, 3) g.usage ->> 'source', g.usage ->> 'product', g.usage ->> 'metric', units[g.item]
    from jsonb_array_elements(usages) with ordinality g(usage, item)
    where units[g.item] is not null
    order by 1, 2, 3, g.item
    on conflict do nothing;
    insert into postmeter.import_period as p (org, source, list, first_used_at, ends_at)
    select lower(btrim(g.usage ->> 'org')), g.usage ->> 'source', postmeter.import_list_of(g.usage ->> 'event_id'),
           min(m.used_at), max(postmeter.import_ends(m.used_at, lower(periods[g.item]), upper(periods[g.item])))
    from jsonb_array_elements(usages) with ordinality g(usage, item)
    cross join lateral (select postmeter.usage_time(g.usage ->> 'used_at') as used_at offset 0) m
    group by 1, 2, 3
    order by 1, 2, 3
    on conflict (org, source, list) do update
    set first_used_at = least(p.first_used_at, excluded.first_used_at), ends_at = greatest(p.ends_at, excluded.ends_at)
    where p.first_used_at > excluded.first_used_at or p.ends_at < excluded.ends_at;
end;
comment on function postmeter.import_recorded(jsonb, text[], tstzrange[]) is
    'Keeps units and periods of usage that an import recorded. The caller holds the gate import.';
revoke execute on function postmeter.import_recorded(jsonb, text[], tstzrange[]) from public;

-- squawk-ignore ban-drop-function -- it comes again below, with two more columns in its answer
drop function postmeter.import_batch(jsonb, boolean);
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
            using errcode = '25001', hint = 'Call import_batch in a transaction with the isolation level read committed.';
    end if;
    if jsonb_array_length(groups) > 1000 then
        raise exception 'a batch has at most 1000 groups, and this one has %', jsonb_array_length(groups) using errcode = 'PM001';
    end if;
    -- One import at a time, for one batch; what follows is a later statement and sees what the one before recorded.
    perform postmeter.take_gate('import');
    perform postmeter.look_at_source(s.source)
    from (select distinct g #>> '{usage,source}' as source from jsonb_array_elements(groups) g) s where s.source is not null;
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
                touched_times := touched_times || case when part.ends > part.begins then tstzrange(part.begins, part.ends) else 'empty' end;
            end if;
            -- what was recorded is not a producer's to read
            standing := case when shows then standing end;
        elsif part.known_from is not null then
            verdict := 'other_rule';
        elsif (part.usage ->> 'quantity')::numeric = 0 then
            verdict := 'zero';
        else
            other := coalesce(
                'the same usage is recorded in the source ' || part.twin || ' already: it has two providers in these files, name ProviderName in --id',
                postmeter.import_elsewhere(part.usage, part.begins, part.ends, part.is_named));
            message := case
                when other is not null then other
                when part.is_held then
                    'a row before it holds some of the same time of the same usage: import one granularity of a time, hours or days, '
                    'or name the column in --id that tells the two apart'
                else postmeter.import_overlap(part.usage ->> 'source', part.usage ->> 'event_id', part.begins, part.ends) end;
            if message is null then
                fresh := fresh || part.usage;
                fresh_items := fresh_items || item;
                fresh_units := fresh_units || part.unit;
                fresh_times := fresh_times || case when part.ends > part.begins then tstzrange(part.begins, part.ends) else 'empty' end;
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
    'Records groups of an export''s rows, each once: new ones as usage; known ones are compared, and with apply their difference is recorded. begins and ends: the charge period, as the file has it. older: the ids that an older version gave the rows, wanted where begin_import says so. other_rule: another list of columns recorded usage of this org from known_from until known_until, and the group is not found among it.';
revoke execute on function postmeter.import_batch(jsonb, boolean) from public;
grant execute on function postmeter.import_batch(jsonb, boolean) to postmeter_producer;

-- taking a mistake back ----------------------------------------------------------------------------------------------

create function postmeter.reopen_import(source text, list text, org text, who text, why text, dry_run boolean default true)
returns table (first_used_at timestamptz, ends_at timestamptz, standing numeric)
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
#variable_conflict use_column
declare
    key   text := lower(btrim(reopen_import.org));
    found_as postmeter.import_period;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.take_gate('import');
    select p.* into found_as from postmeter.import_period p
    where p.source = reopen_import.source and p.list = reopen_import.list and p.org = key;
    if not found then
        raise exception 'no import of % into % by the list % is known', quote_literal(reopen_import.org),
            quote_literal(reopen_import.source), quote_literal(reopen_import.list)
            using errcode = 'PM001', column = 'org', hint = 'postmeter.import_period has them, with orgs in lower case.';
    end if;
    first_used_at := found_as.first_used_at;
    ends_at := found_as.ends_at;
    select coalesce(sum(u.quantity + coalesce(c.quantity, 0)), 0) into standing
    from (
        -- by name: the tables are others after each turn
        select i.event_id, i.usage_id from postmeter.usage_identity i where i.source = reopen_import.source
        union all
        select b.event_id, b.usage_id from postmeter.usage_identity_before b where b.source = reopen_import.source
    ) k
    join postmeter.usage u on u.id = k.usage_id
    left join lateral (select sum(y.quantity) as quantity from postmeter.usage y
                       where y.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id) and y.corrected_id = u.id) c on true
    where postmeter.import_list_of(k.event_id) = reopen_import.list and lower(btrim(u.org)) = key
      and u.attributes ? 'charge_period_start' and u.corrects is null;
    if dry_run is not false then
        return next;
        return;
    elsif standing <> 0 then
        raise exception '% of % stands of that import: correct it to zero first, or the next one bills it again', trim_scale(standing),
            quote_literal(reopen_import.org) using errcode = 'PM001', column = 'org';
    end if;
    delete from postmeter.import_period p
    where p.source = reopen_import.source and p.list = reopen_import.list and p.org = key;
    insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
    values (who, why, 'reopen', 'imported', 'open', jsonb_build_object(
        'source', source, 'list', list, 'org', key, 'first_used_at', found_as.first_used_at, 'ends_at', found_as.ends_at));
    return next;
end
$$;
comment on function postmeter.reopen_import(text, text, text, text, text, boolean) is
    'Opens the time of an org that was imported by mistake, once nothing stands of that import: other columns may import it then. Returns the time, and what stands; reads all usage of the source. Dry run unless told otherwise.';
revoke execute on function postmeter.reopen_import(text, text, text, text, text, boolean) from public;
grant execute on function postmeter.reopen_import(text, text, text, text, text, boolean) to postmeter_operator;

create function postmeter.reopen_import_unit(source text, product text, metric text, who text, why text)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    before text;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.take_gate('import');
    delete from postmeter.import_unit i
    where i.source = reopen_import_unit.source and i.product = reopen_import_unit.product and i.metric = reopen_import_unit.metric
    returning i.unit into before;
    if before is null then
        raise exception 'no unit of the metric % of % is known in %', quote_literal(reopen_import_unit.metric),
            quote_literal(reopen_import_unit.product), quote_literal(reopen_import_unit.source)
            using errcode = 'PM001', column = 'metric', hint = 'postmeter.import_unit has them.';
    end if;
    insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
    values (who, why, 'reopen', before, 'open', jsonb_build_object('source', source, 'product', product, 'metric', metric));
    return before;
end
$$;
comment on function postmeter.reopen_import_unit(text, text, text, text, text) is
    'Forgets which unit the metric of imported exports stands for; the next usage that is recorded chooses it. Returns the unit of before.';
revoke execute on function postmeter.reopen_import_unit(text, text, text, text, text) from public;
grant execute on function postmeter.reopen_import_unit(text, text, text, text, text) to postmeter_operator;

comment on function postmeter.import_times(text, text, text[]) is
    'For programs before 0065, which ask for this themselves: for each of these orgs the time of which a source holds usage that an import of exports recorded under ids that do not begin with the prefix. import_batch knows it from import_period.';

insert into postmeter.migration (version, name) values (65, '0065_pre_import_periods');
