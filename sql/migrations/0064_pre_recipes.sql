-- 0064_pre_recipes: an hour that an import recorded under one recipe is not recorded again under another.
-- programs: from 0022
-- lock: none

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
    'Those among the hours for which an import recorded usage of the source under another recipe (or, where the recipe is null, another query): they must not be recorded again under this one. Event ids of imports begin with their hour; those of a recipe go on with recipe-, its name and a slash.';
revoke execute on function postmeter.hours_of_other_recipes(text, timestamptz[], text, text) from public;
grant execute on function postmeter.hours_of_other_recipes(text, timestamptz[], text, text) to postmeter_producer;

insert into postmeter.migration (version, name) values (64, '0064_pre_recipes');
