-- Before an import, and opening one again.

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
           postmeter.import_unit_key(btrim(regexp_replace(replace(u.attributes ->> 'unit', '/', ' per '),
               '[^A-Za-z0-9]+', '-', 'g'), '-'))
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
    'Once for each source, before the first import into it: finds the periods and units of what older versions '
    'imported. Reads all usage of the source. The caller holds the gate import.';

create function postmeter.begin_import(source text, list text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if not exists (select from postmeter.import_list l where l.source = begin_import.source
        and l.list = begin_import.list) then
        perform postmeter.take_gate('import');
        perform postmeter.look_at_source(source);
        insert into postmeter.import_list (source, list) values (source, list) on conflict do nothing;
    end if;
    return exists (select from postmeter.import_list l where l.source = begin_import.source
        and l.list <> begin_import.list);
end
$$;
comment on function postmeter.begin_import(text, text) is
    'Before an import: whether the source holds usage of exports under other ids than those of this list of '
    'columns. Then import_batch wants the older ids of each group. The first time for a source it reads all of its '
    'usage.';

create function postmeter.reopen_import(
    source text, list text, org text, who text, why text, dry_run boolean default true
) returns table (first_used_at timestamptz, ends_at timestamptz, standing numeric)
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
            using errcode = 'PM001', column = 'org',
                hint = 'postmeter.import_period has them, with orgs in lower case.';
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
                       where y.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id)
                           and y.corrected_id = u.id) c on true
    where postmeter.import_list_of(k.event_id) = reopen_import.list and lower(btrim(u.org)) = key
      and u.attributes ? 'charge_period_start' and u.corrects is null;
    if dry_run is not false then
        return next;
        return;
    elsif standing <> 0 then
        raise exception '% of % stands of that import: correct it to zero first, or the next one bills it again',
            trim_scale(standing),
            quote_literal(reopen_import.org) using errcode = 'PM001', column = 'org';
    end if;
    delete from postmeter.import_period p
    where p.source = reopen_import.source and p.list = reopen_import.list and p.org = key;
    insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
    values (who, why, 'reopen', 'imported', 'open', jsonb_build_object(
        'source', source, 'list', list, 'org', key, 'first_used_at', found_as.first_used_at, 'ends_at',
            found_as.ends_at));
    return next;
end
$$;
comment on function postmeter.reopen_import(text, text, text, text, text, boolean) is
    'Opens the time of an org that was imported by mistake, once nothing stands of that import: other columns may '
    'import it then. Returns the time, and what stands; reads all usage of the source. Dry run unless told '
    'otherwise.';

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
    where i.source = reopen_import_unit.source and i.product = reopen_import_unit.product
        and i.metric = reopen_import_unit.metric
    returning i.unit into before;
    if before is null then
        raise exception 'no unit of the metric % of % is known in %', quote_literal(reopen_import_unit.metric),
            quote_literal(reopen_import_unit.product), quote_literal(reopen_import_unit.source)
            using errcode = 'PM001', column = 'metric', hint = 'postmeter.import_unit has them.';
    end if;
    insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
    values (who, why, 'reopen', before, 'open',
        jsonb_build_object('source', source, 'product', product, 'metric', metric));
    return before;
end
$$;
comment on function postmeter.reopen_import_unit(text, text, text, text, text) is
    'Forgets which unit the metric of imported exports stands for; the next usage that is recorded chooses it. '
    'Returns the unit of before.';
