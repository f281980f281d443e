-- Usage as JSON: what is wrong with it, in words.

create function postmeter.record_usage_batch(usages jsonb)
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
        raise exception 'usages must be a JSON array of objects' using errcode = 'PM001', column = 'usages',
            constraint = 'usages_array';
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
            insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account,
                corrects,
                                          request_id, traceparent, attributes)
            select ids[u.ordinality], u.usage ->> 'source', u.usage ->> 'event_id', u.usage ->> 'org',
                u.usage ->> 'product',
                   u.usage ->> 'metric', postmeter.usage_quantity(u.usage -> 'quantity'),
                       postmeter.usage_time(u.usage ->> 'used_at'),
                   u.usage ->> 'account', u.usage ->> 'corrects', u.usage ->> 'request_id', u.usage ->> 'traceparent',
                   coalesce(nullif(u.usage -> 'attributes', 'null'), '{}')
            from jsonb_array_elements(usages) with ordinality u(usage, ordinality);
            if current_setting('postmeter.repeated', true) is distinct from 'on' then
                return query
                select k.ordinality::integer, 'recorded'::text, k.id, null::text, null::text, null::text
                from unnest(ids) with ordinality k(id, ordinality);
                return;
            end if;
            -- no join, so that no plan can be quadratic: an id of ours stands for an identity if one of its items
            -- brought it
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
        select f.error_code, f.field, f.message into error_code, field, message
            from postmeter.usage_text_refusal(usage) f;
        if error_code is not null then
            return next;
            continue;
        end if;
        begin
            -- what a cast refuses is told by the field at hand: messages come in the server's language
            field := 'quantity';
            quantity := postmeter.usage_quantity(usage -> 'quantity');
            field := 'used_at';
            used_at := postmeter.usage_time(usage ->> 'used_at');
            field := null;
            -- the door says whether it met a repetition
            perform set_config('postmeter.repeated', 'off', true);
            usage_id := postmeter.record_usage(usage ->> 'source', usage ->> 'event_id', usage ->> 'org',
                usage ->> 'product',
                usage ->> 'metric', quantity, used_at, usage ->> 'account', usage ->> 'corrects',
                    usage ->> 'request_id',
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
comment on function postmeter.record_usage_batch(jsonb) is
    'Records many usages in one round trip: an array of objects with the parameters of record_usage. A verdict per '
    'row: recorded, repeated or refused (with error code, field and message); what is refused does not stop the '
    'rest.';

create function postmeter.usage_text_fault(usage jsonb) returns text
language sql immutable parallel safe
begin atomic
select case
        when jsonb_typeof(usage) is distinct from 'object' then 'usage_object'
        when usage - array['source', 'event_id', 'org', 'product', 'metric', 'quantity', 'used_at', 'account',
            'corrects',
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
            or usage ->> 'used_at' !~
                '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt '
                    ']([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?([Zz]|[+-][0-9]{2}(:?[0-5][0-9])?)$'
            then case
                when jsonb_typeof(usage -> 'used_at') = 'string'
                    and usage ->> 'used_at' ~
                        '^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?)?$'
                    then 'used_at_zone'
                else 'used_at_time' end
    end;
end;
comment on function postmeter.usage_text_fault(jsonb) is
    'Name of the first thing that is wrong with a usage as JSON, before its rules are asked '
    '(postmeter.usage_fault), or null. What it lets through means the same in every session, whatever its time '
    'zone and date style.';

create function postmeter.usage_text_refusal(usage jsonb, out error_code text, out field text, out message text)
returns record
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    fault text := postmeter.usage_text_fault(usage);
    fields constant text[] := array['source', 'event_id', 'org', 'product', 'metric', 'quantity', 'used_at', 'account',
                                    'corrects', 'request_id', 'traceparent', 'attributes'];
begin
    if fault is null then
        return;
    end if;
    field := case fault when 'usage_object' then null
                        when 'unknown_field' then (select left(min(k), 255) from jsonb_object_keys(usage - fields) k)
                        else regexp_replace(fault, '_(missing|text|number|zone|time)$', '') end;
    error_code := case when fault like '%_missing' then '23502' when fault = 'quantity_number' then '22P02'
                       when fault = 'used_at_time' then '22007' else 'PM001' end;
    message := case
        when fault = 'usage_object' then 'must be a JSON object'
        when fault = 'unknown_field' then format('%I is no field of a usage; there are %s', field,
            array_to_string(fields, ', '))
        when fault like '%_missing' then format('%s is missing', field)
        when fault like '%_text' then format('%s must be a text, in quotation marks', field)
        when fault = 'quantity_number' then 'quantity must be a number, or a text that holds one, such as 12.5'
        when fault = 'used_at_zone'
            then 'used_at has no zone; add Z for UTC or an offset, as in 2026-11-21T10:00:00+01:00'
        else 'used_at must be a time with its zone, such as 2026-11-21T10:00:00Z' end;
    message := format('usage %s: %s', case when jsonb_typeof(usage -> 'event_id') in ('string', 'number')
                                           then quote_literal(left(usage ->> 'event_id', 255)) else '?' end, message);
end
$$;
comment on function postmeter.usage_text_refusal(jsonb) is
    'The verdict on a usage that postmeter.usage_text_fault finds fault with: SQLSTATE, field and sentence. All '
    'null: it finds none.';

create function postmeter.usage_time(text) returns timestamptz
language sql stable parallel safe
begin atomic
-- further than microseconds Postgres would round, and 59.9999999 seconds would be another minute
    select (case when octet_length($1) > 27 then regexp_replace($1, '([.][0-9]{6})[0-9]+', '\1')
        else $1 end)::timestamptz;
end;
comment on function postmeter.usage_time(text) is
    'A time that postmeter.usage_text_fault let through, cut down to microseconds: rounded up, the last moment of '
    'a month would be the next one''s.';

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
    'Whether a usage is written as nearly all are, and corrects nothing: then postmeter.usage_text_fault finds no '
    'fault with it.';

create function postmeter.usage_quantity(quantity jsonb) returns numeric
language sql immutable parallel safe
begin atomic
-- as text, 1e100000 has a hundred thousand digits
    select case jsonb_typeof(quantity) when 'number' then quantity::numeric else (quantity #>> '{}')::numeric end;
end;
comment on function postmeter.usage_quantity(jsonb) is
    'The quantity of a usage in JSON: a number, or a text that holds one. A number is not written out, however '
    'large its exponent.';
