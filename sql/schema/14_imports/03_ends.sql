-- Ends of charge periods, and usage of the same time by other columns.

create function postmeter.import_list_of(event_id text) returns text
language sql immutable parallel safe
begin atomic
select coalesce(substring(event_id from '^export:[0-9a-z]{1,32}:'), '');
end;
comment on function postmeter.import_list_of(text) is 'Which list of columns an event id of an import was made by.';

create function postmeter.import_moment(said text) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp set TimeZone = 'UTC' set DateStyle = 'ISO, MDY'
as $$
begin
    return case when octet_length(said) between 10 and 64 and said::timestamptz between '1900-01-01' and '2200-01-01'
                then said::timestamptz end;
exception when data_exception or invalid_parameter_value then
    return null;
end
$$;
comment on function postmeter.import_moment(text) is
    'A time of an export; null where it is none. Without a zone it is UTC, as FOCUS says.';

create function postmeter.import_ends(used_at timestamptz, begins timestamptz, ends timestamptz)
returns timestamptz
language sql immutable parallel safe
begin atomic
-- hours are moved by --shift, and how long a period is stays; a month is the longest that exports have
    select used_at + case when ends > begins then least(ends - begins, interval '32 days')
        else interval '1 microsecond' end;
end;
comment on function postmeter.import_ends(timestamptz, timestamptz, timestamptz) is
    'When the charge period of a usage ends; just after its begin where no end is known.';

create function postmeter.import_unit_key(unit text) returns text
language sql immutable parallel safe
begin atomic
select string_agg(
        -- GB and Gb, mW and MW, ms and Ms are two units; Hours and hours, Hrs and hrs, Mo and mo are one
        case when length(w.word) = 1 or lower(w.word) ~ '^[kmgtpezy]?i?b([^aeiouy]|$)'
            or lower(w.word) ~ '^m[^aeiou]{1,2}$'
             then w.word else lower(w.word) end,
        '-' order by w.place)
    from regexp_split_to_table(left(unit, 200), '-') with ordinality w(word, place);
end;
comment on function postmeter.import_unit_key(text) is
    'A unit, as far as another one is another unit: words are the same in any case, but for bits and bytes, milli '
    'and mega.';

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
comment on function postmeter.import_names(text, text) is
    'The event id of a group and those of the revisions that imports recorded of it.';

create function postmeter.import_standing(source text, event_id text) returns numeric
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
select coalesce(sum(k.rest), 0)
    from postmeter.import_parts(import_standing.source,
        postmeter.import_names(import_standing.source, import_standing.event_id)) k;
end;
comment on function postmeter.import_standing(text, text) is
    'What stands of a group: the usage that was recorded of it less all corrections.';

create function postmeter.import_overlap(source text, event_id text, begins timestamptz, ends timestamptz)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set TimeZone = 'UTC' set enable_seqscan = off
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
        select m.moment
            from unnest(array[date_trunc('hour', begins), date_trunc('day', begins), date_trunc('month', begins)])
            m(moment)
        where m.moment < begins
        union
        select h.moment
        from generate_series(
            date_trunc('hour', begins), least(ends, begins + interval '32 days') - interval '1 microsecond',
            case when ends - begins <= interval '1 day' then interval '15 minutes' else interval '1 hour' end) h(moment)
        where h.moment > begins
    ) at;
    for part in
        -- By name: the tables are others after each turn. Fences: look-ups by the whole key, whatever the statistics
        -- say.
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
            return
                format('this usage is recorded already, by its charge period from %s until %s: import one '
                    'granularity of a time, '
                          'hours or days, or name the column in --id that tells the two apart',
                              to_char(began, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                          coalesce(to_char(ended, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'an end that it does not say'));
        end if;
    end loop;
    return null;
end
$$;
comment on function postmeter.import_overlap(text, text, timestamptz, timestamptz) is
    'Why a group must not be recorded beside what is: the same who, what and where is recorded for a longer or '
    'shorter period that holds some of its time. Null: nothing is. What was corrected to zero is in nobody''s way.';

create function postmeter.import_elsewhere(usage jsonb, begins timestamptz, ends timestamptz, is_named boolean)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
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
                return
                    format('the source %s holds usage of %s of this time by other columns: name the --source, the '
                        'same one if the '
                              'provider has another name now, %s if it is another provider', other.source,
                                  usage ->> 'org', own_source);
            end if;
            continue;
        end if;
        twin := postmeter.usage_of(other.source, own_id);
        if twin is not null and exists (select from postmeter.usage u where u.id = twin and u.used_at = own_time)
           and postmeter.import_standing(other.source, own_id) > 0
           -- what is played into another time is other usage
           or begins = own_time and postmeter.import_overlap(other.source, own_id, begins, ends) is not null then
            return
                format('the same usage is recorded in the source %s already: name that --source if the provider has '
                    'another name now; '
                          'if it is another provider, name ProviderName in --id, with the columns of before',
                              other.source);
        end if;
    end loop;
    return null;
end
$$;
comment on function postmeter.import_elsewhere(jsonb, timestamptz, timestamptz, boolean) is
    'Why a group must not be recorded beside what another source holds: the same group of the same time, or a '
    'longer or shorter period of it, is recorded there, as if the provider''s name, of which a source is made, had '
    'changed; or that source has usage of the org and time by other columns, and nobody named this one. Null: '
    'nothing is.';

create function postmeter.import_found(groups jsonb)
returns table (item integer, usage jsonb, unit text, other_unit text, older text[], known text[], is_known boolean,
    is_same boolean, begins timestamptz, ends timestamptz, is_named boolean, known_from timestamptz,
    known_until timestamptz, twin text, is_held boolean)
language sql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
    with said as materialized (
        select g.ordinality::integer as item, g.given -> 'usage' as usage,
            postmeter.import_unit_key(g.given ->> 'unit') as unit,
               g.given -> 'older' as older, g.given #>> '{usage,source}' as source,
                   g.given #>> '{usage,event_id}' as event_id,
               postmeter.import_list_of(g.given #>> '{usage,event_id}') as list,
                   lower(btrim(g.given #>> '{usage,org}')) as org,
               nullif(split_part(g.given #>> '{usage,event_id}', ':', 4), '') as own,
               postmeter.import_moment(g.given #>> '{usage,used_at}') as used_at,
               postmeter.import_moment(g.given ->> 'begins') as begins,
                   postmeter.import_moment(g.given ->> 'ends') as ends,
               (g.given ->> 'is_named') is not distinct from 'true' as is_named,
               postmeter.usage_quantity(g.given #> '{usage,quantity}') as quantity
        from jsonb_array_elements(groups) with ordinality g(given, ordinality)
    ), met as materialized (
        -- what stands before it in the same batch
        select s.item, min(b.source) filter (where b.source <> s.source and b.event_id = s.event_id
            and b.used_at = s.used_at) as twin,
               bool_or(b.source = s.source and b.list = s.list and b.event_id <> s.event_id
                       and b.begins < s.ends and b.ends > s.begins) as is_held
        from said s join said b on b.own = s.own and b.item < s.item and b.quantity > 0
        group by s.item
    )
    select s.item, s.usage, s.unit,
           (select i.unit from postmeter.import_unit i
            where i.source = s.source and i.product = s.usage ->> 'product' and i.metric = s.usage ->> 'metric'
                and i.unit <> s.unit),
           o.older, o.known, b.base is not null,
           -- nearly always it is as it was, and nobody has touched it
           coalesce((select (lower(btrim(u.org)), u.product, u.metric, u.used_at, u.quantity) =
                            (s.org, s.usage ->> 'product', s.usage ->> 'metric', s.used_at, s.quantity)
                            and (s.ends is null or s.ends = coalesce(
                                (select e.ends_at from postmeter.import_end e where e.source = s.source
                                    and e.event_id = s.event_id),
                                postmeter.import_moment(u.attributes ->> 'charge_period_end')))
                            and u.account is null and u.corrects is null
                            and not exists (select from postmeter.usage c
                                            where c.corrected_identity
                                                = postmeter.usage_identity_of(u.source, u.event_id)
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
    'For each group of a batch what is known of it: its unit, its older ids, its usage, whether it is as it was, '
    'from when until when another list recorded usage of its org, and what stands before it in the batch: a twin '
    'of another source, or an overlapping period.';

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
