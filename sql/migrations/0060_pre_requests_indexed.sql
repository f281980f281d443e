-- 0060_pre_requests_indexed: an installation that tracks no requests can do without the index of usage by request.
-- programs: from 0022
-- lock: none

-- the index of requests -------------------------------------------------------------------------------------------------

create function postmeter.requests_indexed() returns boolean
language sql stable set search_path = pg_catalog, pg_temp
return to_regclass('postmeter.usage_request') is not null;
comment on function postmeter.requests_indexed() is
    'Whether usage is found by its request id (postmeter.index_requests).';
revoke execute on function postmeter.requests_indexed() from public;
grant execute on function postmeter.requests_indexed() to postmeter_reader, postmeter_operator, postmeter_worker;

create function postmeter.index_requests(wanted boolean) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if wanted = postmeter.requests_indexed() then
        return false;
    elsif wanted then
        create index if not exists usage_request on postmeter.usage (postmeter.request_key_of(request_id)) where request_id is not null;
    else
        drop index if exists postmeter.usage_request;
    end if;
    return true;
end
$$;
comment on function postmeter.index_requests(boolean) is
    'Creates (true) or drops (false) the index by which a request''s usage is found, for the owner of the schema; true if that changed anything. Nothing is recorded while it runs: creating takes seconds for each million usages that name a request. Without the index recording is cheaper and postmeter.request_steps returns nothing.';
revoke execute on function postmeter.index_requests(boolean) from public;

-- quantities in JSON ----------------------------------------------------------------------------------------------------

create function postmeter.usage_quantity(quantity jsonb) returns numeric
language sql immutable parallel safe
begin atomic
    -- as text, 1e100000 has a hundred thousand digits
    select case jsonb_typeof(quantity) when 'number' then quantity::numeric else (quantity #>> '{}')::numeric end;
end;
comment on function postmeter.usage_quantity(jsonb) is
    'The quantity of a usage in JSON: a number, or a text that holds one. A number is not written out, however large its exponent.';
revoke execute on function postmeter.usage_quantity(jsonb) from public;

create or replace function postmeter.usage_text_fault(usage jsonb) returns text
language sql immutable parallel safe
begin atomic
    select case
        when jsonb_typeof(usage) is distinct from 'object' then 'usage_object'
        when usage - array['source', 'event_id', 'org', 'product', 'metric', 'quantity', 'used_at', 'account', 'corrects',
                           'request_id', 'traceparent', 'attributes'] <> '{}' then 'unknown_field'
        when usage ->> 'source' is null then 'source_missing'
        when usage ->> 'event_id' is null then 'event_id_missing'
        when usage ->> 'org' is null then 'org_missing'
        when usage ->> 'product' is null then 'product_missing'
        when usage ->> 'metric' is null then 'metric_missing'
        when coalesce(jsonb_typeof(usage -> 'quantity'), 'null') = 'null' then 'quantity_missing'
        when usage ->> 'used_at' is null then 'used_at_missing'
        when jsonb_typeof(usage -> 'source') <> 'string' then 'source_text'
        when jsonb_typeof(usage -> 'event_id') <> 'string' then 'event_id_text'
        when jsonb_typeof(usage -> 'org') <> 'string' then 'org_text'
        when jsonb_typeof(usage -> 'product') <> 'string' then 'product_text'
        when jsonb_typeof(usage -> 'metric') <> 'string' then 'metric_text'
        when jsonb_typeof(usage -> 'account') not in ('string', 'null') then 'account_text'
        when jsonb_typeof(usage -> 'corrects') not in ('string', 'null') then 'corrects_text'
        when jsonb_typeof(usage -> 'request_id') not in ('string', 'null') then 'request_id_text'
        when jsonb_typeof(usage -> 'traceparent') not in ('string', 'null') then 'traceparent_text'
        when case jsonb_typeof(usage -> 'quantity')
                 when 'number' then false
                 when 'string' then usage ->> 'quantity'
                     !~* '^[+-]?(([0-9]+[.]?[0-9]*|[.][0-9]+)(e[+-]?[0-9]+)?|nan|inf|infinity)$'
                 else true end then 'quantity_number'
        when jsonb_typeof(usage -> 'used_at') <> 'string'
            or usage ->> 'used_at' !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?([Zz]|[+-][0-9]{2}(:?[0-5][0-9])?)$'
            then case
                when jsonb_typeof(usage -> 'used_at') = 'string'
                    and usage ->> 'used_at' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?)?$'
                    then 'used_at_zone'
                else 'used_at_time' end
    end;
end;

-- what they say is as it was; they ask the two functions above
do $$
declare
    change     record;
    definition text;
    changed    text;
begin
    for change in
        select *
        from (values
            ('record_known', '(u.usage ->> ''quantity'')::numeric', 'postmeter.usage_quantity(u.usage -> ''quantity'')'),
            ('record_new', '(u.usage ->> ''quantity'')::numeric', 'postmeter.usage_quantity(u.usage -> ''quantity'')'),
            ('record_usage_batch', '(u.usage ->> ''quantity'')::numeric', 'postmeter.usage_quantity(u.usage -> ''quantity'')'),
            ('record_usage_batch', '(usage ->> ''quantity'')::numeric', 'postmeter.usage_quantity(usage -> ''quantity'')'),
            ('request_steps', 'from postmeter.usage u where u.request_id is not null',
             'from postmeter.usage u where (select postmeter.requests_indexed()) and u.request_id is not null')
        ) c(name, before, after)
    loop
        select pg_get_functiondef(p.oid) into strict definition
        from pg_proc p where p.pronamespace = 'postmeter'::regnamespace and p.proname = change.name;
        changed := replace(definition, change.before, change.after);
        if changed = definition then
            raise exception '% is not as this migration knows it', change.name;
        end if;
        execute changed;
    end loop;
end
$$;

insert into postmeter.migration (version, name) values (60, '0060_pre_requests_indexed');
