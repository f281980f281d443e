-- Recording request statuses, and counting those that were refused.

create function postmeter.request_status_digest(
    service text, source text, status text, status_msg text, account text, org text, inventory_id text,
    system_id text
) returns uuid
language sql stable parallel safe
begin atomic
select encode(substring(sha256(convert_to(
        length(service) || ':' || service || length(source) || ':' || source || length(status) || ':' || status
        || length(status_msg) || ':' || status_msg || length(account) || ':' || account || length(org) || ':' || org
        || length(inventory_id) || ':' || inventory_id || system_id, 'UTF8')) from 1 for 16), 'hex')::uuid;
end;
comment on function postmeter.request_status_digest(text, text, text, text, text, text, text, text) is
    'With request and date: what must be equal for two messages to be the same message.';

create function postmeter.status_fault(
    service text, request_id text, status text, date timestamptz, source text, status_msg text, account text,
    org text, inventory_id text, system_id text
) returns text
language sql immutable parallel safe
begin atomic
select case
        when request_id is null then 'request_id_missing'
        when service is null then 'service_missing'
        when status is null then 'status_missing'
        when octet_length(request_id) not between 1 and 255 then 'request_id_length'
        when octet_length(service) not between 1 and 255 then 'service_length'
        when octet_length(status) not between 1 and 255 then 'status_length'
        when octet_length(source) > 255 then 'source_length'
        when octet_length(account) > 255 then 'account_length'
        when octet_length(org) > 255 then 'org_length'
        when octet_length(inventory_id) > 255 then 'inventory_id_length'
        when octet_length(system_id) > 255 then 'system_id_length'
        when octet_length(status_msg) > 8192 then 'status_msg_length'
        when not (date >= '0001-01-01Z'::timestamptz and date < '9999-12-30Z'::timestamptz) then 'date_range'
    end;
end;
comment on function postmeter.status_fault(text, text, text, timestamptz, text, text, text, text, text, text) is
    'Name of the first rule that a request status breaks, or null. docs/tracking.md lists them.';

create function postmeter.track(
    service text, request_id text, status text, date timestamptz default null, source text default null,
    status_msg text default null, account text default null, org text default null,
    inventory_id text default null, system_id text default null
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    fault text := postmeter.status_fault(service, request_id, status, date, source, status_msg, account, org,
        inventory_id, system_id);
    field text := regexp_replace(fault, '_(missing|length|range)$', '');
begin
    if fault is not null then
        raise exception 'request status: % %', field, case
            when fault like '%_missing' then 'is missing'
            when fault = 'status_msg_length' then 'has more than 8 KiB'
            when fault = 'date_range' then 'must lie in the years 1 to 9999'
            when field in ('service', 'request_id', 'status') then 'must have 1 to 255 bytes'
            else 'must have at most 255 bytes' end
            using errcode = case when fault like '%_missing' then '23502' else 'PM001' end,
                  schema = 'postmeter', table = 'request_status', column = field, constraint = fault;
    end if;
    if exists (select from postmeter.setting s where track.request_id = any (s.tracker_noise)) then
        raise exception 'request status: request_id names no request: setting.tracker_noise lists it'
            using errcode = 'PM001', schema = 'postmeter', table = 'request_status', column = 'request_id',
                constraint = 'request_id_noise';
    end if;
    with said as (
        insert into postmeter.request_status (request_key, date, digest, request_id, service, source, status,
            status_msg,
                                              account, org, inventory_id, system_id, recorded_at)
        select postmeter.request_key_of(m.request_id), coalesce(m.date, m.now),
               postmeter.request_status_digest(m.service, m.source, m.status, m.status_msg, m.account, m.org,
                   m.inventory_id, m.system_id),
               m.request_id, m.service, m.source, m.status, m.status_msg, m.account, m.org, m.inventory_id, m.system_id,
                   m.now
        from (select track.request_id, track.date, lower(track.service) as service,
            lower(coalesce(track.source, '')) as source,
                     lower(track.status) as status, coalesce(track.status_msg, '') as status_msg,
                     coalesce(track.account, '') as account, coalesce(track.org, '') as org,
                     coalesce(track.inventory_id, '') as inventory_id, coalesce(track.system_id, '') as system_id,
                     postmeter.clock() as now) m
        on conflict do nothing
        returning *
    )
    insert into postmeter.request_news (request_key, date, digest, kind, message, recorded_at)
    select s.request_key, s.date, s.digest, s.kind, s.message, s.recorded_at from said s;
    return found;
end
$$;
comment on function postmeter.track(text, text, text, timestamptz, text, text, text, text, text, text) is
    'Records what a service says about a request, in the caller''s transaction. True: recorded; false: this very '
    'message was recorded before. Errors: 23502, PM001 (docs/tracking.md).';

create function postmeter.track_batch(statuses jsonb)
returns table (item integer, verdict text, error_code text, field text, message text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    now    timestamptz := postmeter.clock();
    status jsonb;
begin
    if jsonb_typeof(statuses) is distinct from 'array' then
        raise exception 'statuses must be a JSON array of objects' using errcode = 'PM001', column = 'statuses',
            constraint = 'statuses_array';
    end if;
    begin
        return query
        with given as materialized (
            select g.is_odd, g.ordinality, nextval('postmeter.request_status_number') as number, g.request_id,
                postmeter.request_key_of(g.request_id) as key, coalesce(g.date, now) as date,
                   lower(g.service) as service, lower(coalesce(g.source, '')) as source, lower(g.status) as status,
                   coalesce(g.status_msg, '') as status_msg, coalesce(g.account, '') as account,
                       coalesce(g.org, '') as org,
                   coalesce(g.inventory_id, '') as inventory_id, coalesce(g.system_id, '') as system_id
            from postmeter.read_statuses(statuses) g
        ), hashed as materialized (
            select g.*, postmeter.request_status_digest(g.service, g.source, g.status, g.status_msg, g.account, g.org,
                                                        g.inventory_id, g.system_id) as digest
            from given g
            where not exists (select from given f where f.is_odd
                or f.request_id in (select unnest(s.tracker_noise) from postmeter.setting s)
                    or postmeter.status_fault(f.service, f.request_id, f.status, f.date,
                f.source, f.status_msg, f.account, f.org, f.inventory_id, f.system_id) is not null)
        ), said as (
            -- sorted, so that two batches with the same messages wait for each other instead of deadlocking
            insert into postmeter.request_status (request_key, date, digest, request_id, service, source, status,
                status_msg,
                                                  account, org, inventory_id, system_id, recorded_at, number)
            select h.key, h.date, h.digest, h.request_id, h.service, h.source, h.status, h.status_msg,
                   h.account, h.org, h.inventory_id, h.system_id, now, h.number
            from hashed h order by h.key, h.date, h.digest, h.ordinality
            on conflict do nothing
            returning *
        ), news as (
            insert into postmeter.request_news (request_key, date, digest, kind, message, recorded_at)
            select s.request_key, s.date, s.digest, s.kind, s.message, s.recorded_at from said s
        )
        -- one that stands twice here is new the first time
        select h.ordinality::integer,
               case when s.request_key is not null
                     and row_number() over (partition by h.key, h.date, h.digest order by h.ordinality) = 1
                    then 'recorded' else 'repeated' end, null::text, null::text, null::text
        from hashed h
        left join said s on s.request_key = h.key and s.date = h.date and s.digest = h.digest
        order by h.ordinality;
        if found or statuses = '[]' then
            return;
        end if;
    exception when others then
        -- bad data of some item: every item gets its own verdict below; anything else is the caller's business
        if sqlstate !~ '^(22|23|PM)' then
            raise;
        end if;
    end;
    item := 0;
    for status in select e from jsonb_array_elements(statuses) e loop
        item := item + 1;
        error_code := null; field := null; message := null;
        begin
            verdict := case when postmeter.track_message(status) then 'recorded' else 'repeated' end;
        exception when others then
            get stacked diagnostics error_code = returned_sqlstate, field = column_name, message = message_text;
            if error_code !~ '^(22|23|PM)' then
                raise;
            end if;
            verdict := 'refused';
            field := coalesce(nullif(field, ''), case when message like '%time%' then 'date' end);
        end;
        return next;
    end loop;
end
$$;
comment on function postmeter.track_batch(jsonb) is
    'Records many request statuses in one round trip: an array of objects with the parameters of track. A verdict '
    'per item: recorded, repeated or refused (with error code, field and message); what is refused does not stop '
    'the rest.';

create function postmeter.status_moment(given text) returns timestamptz
language sql stable parallel safe
return case
    when ltrim(given, E' \t\n\x0B\f\r') like '0000%' then null
    when given ~
        '^[ \t\n\v\f\r]*[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt]|[ '
            '\t\n\v\f\r]+)(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?(?:[Zz]|[+-]'
                '(?:0[0-9]|1[0-5])(?::?[0-5][0-9])?)[ \t\n\v\f\r]*$'
        then given::timestamptz
    when given ~
        '^[ \t\n\v\f\r]*[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt]|[ '
            '\t\n\v\f\r]+)(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?[ \t\n\v\f\r]*$'
        then (btrim(given, E' \t\n\x0B\f\r') || 'Z')::timestamptz
end;
comment on function postmeter.status_moment(text) is
    'A date of a request status: RFC 3339, where the T may be white space, and seconds and zone may be missing; '
    'without a zone it is UTC, whatever the session''s is. Null: it is none (today and tomorrow are words, not '
    'dates). A day that no month has is an error.';

create function postmeter.read_statuses(statuses jsonb)
returns table (service text, request_id text, status text, date timestamptz, source text, status_msg text, account text,
    org text, inventory_id text, system_id text, is_odd boolean, ordinality bigint)
language sql stable parallel safe
begin atomic
select g.service, g.request_id, g.status, m.moment, g.source, g.status_msg, g.account,
           coalesce(nullif(g.org, ''), g.org_id), g.inventory_id, g.system_id,
           coalesce(nullif(g.date, '') is not null and m.moment is null, false)
           -- is anything odd? only then: which of the fields that are read
           or case
               when
               (select statuses @? '$[*].* ? (@.type() == "object" || @.type() == "array" || @.type() == "boolean")')
               then exists (select from jsonb_each(case when jsonb_typeof(g.message) = 'object' then g.message end) e
                            where jsonb_typeof(e.value) in ('object', 'array', 'boolean')
                              and e.key in ('service', 'request_id', 'status', 'date', 'source', 'status_msg',
                                  'account',
                                            'org', 'org_id', 'inventory_id', 'system_id'))
               else false end,
           g.ordinality
    from rows from (jsonb_to_recordset(statuses) as (service text, request_id text, status text, date text, source text,
            status_msg text, account text, org text, org_id text, inventory_id text, system_id text),
            jsonb_array_elements(statuses))
         with ordinality g(service, request_id, status, date, source, status_msg, account, org, org_id, inventory_id,
                           system_id, message, ordinality)
    -- offset 0: read once for each
    cross join lateral (select postmeter.status_moment(nullif(g.date, '')) as moment offset 0) m;
end;
comment on function postmeter.read_statuses(jsonb) is
    'The messages of a batch as rows: numbers count as text, org_id is org where that is missing, dates are read '
    'as status_moment reads them. is_odd: a field is neither text nor number, or its date is none; then '
    'track_message says which.';

create function postmeter.track_message(message jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    field text;
    given text := nullif(message ->> 'date', '');
    moment timestamptz;
begin
    if jsonb_typeof(message) is distinct from 'object' then
        raise exception 'request status: must be a JSON object' using errcode = 'PM001', column = 'statuses',
            constraint = 'statuses_object';
    end if;
    foreach field in array array['request_id', 'service', 'status', 'source', 'status_msg', 'account', 'org', 'org_id',
                                 'inventory_id', 'system_id', 'date'] loop
        if jsonb_typeof(message -> field) in ('object', 'array', 'boolean') then
            raise exception 'request status: % must be text', field
                using errcode = 'PM001', schema = 'postmeter', table = 'request_status', column = field,
                    constraint = field || '_text';
        end if;
    end loop;
    begin
        moment := postmeter.status_moment(given);
    exception when data_exception then
        moment := null;
    end;
    if given is not null and moment is null then
        raise exception 'request status: date "%" is no time such as 2026-03-10T09:00:00Z', left(given, 100)
            using errcode = '22007', schema = 'postmeter', table = 'request_status', column = 'date',
                constraint = 'date_unreadable';
    end if;
    return postmeter.track(message ->> 'service', message ->> 'request_id', message ->> 'status', moment,
        message ->> 'source',
        message ->> 'status_msg', message ->> 'account', coalesce(nullif(message ->> 'org', ''), message ->> 'org_id'),
        message ->> 'inventory_id', message ->> 'system_id');
end
$$;
comment on function postmeter.track_message(jsonb) is
    'Records one message of a batch, or says which field of it cannot be read, and why. Errors: those of track, '
    '22007 (date), PM001 (a field is neither text nor number).';

create function postmeter.count_refusals(door text, fields text[], reasons text[], counts bigint[], said text[])
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    now  timestamptz := postmeter.clock();
    kept interval := (select s.tracker_refusals_kept from postmeter.setting s);
begin
    if cardinality(fields) > 200 or coalesce(door, '') not in ('http', 'import') then
        raise exception 'refusals: at most 200 kinds, of http or import' using errcode = 'PM001', column = 'door',
            constraint = 'refusals';
    end if;
    -- sorted, so that two that count at once wait for each other instead of deadlocking
    with given as materialized (
        select count_refusals.door as door, case
            when g.field = any (array['service', 'request_id', 'status', 'date', 'source',
                   'status_msg', 'account', 'org', 'org_id', 'inventory_id', 'system_id']) then g.field
                       else '' end as field,
               case
                   when g.reason = any (array['missing', 'length', 'text', 'unreadable', 'range', 'noise', 'nul',
                   'json',
                   'utf8', 'object', 'twice', 'other_org']) then g.reason else 'other' end as reason,
               least(greatest(g.n, 1), 1000000) as n, coalesce(left(g.said, 200), '') as said
        from unnest(fields, reasons, counts, said) g(field, reason, n, said)
    ), hourly as (
        insert into postmeter.request_refusal as r (hour, door, field, reason, n, first_at, last_at, said)
        select date_trunc('hour', now, 'UTC'), g.door, g.field, g.reason, sum(g.n), now, now, max(g.said)
        from given g group by 2, 3, 4 order by 3, 4
        on conflict (hour, door, field, reason)
        do update set n = r.n + excluded.n, last_at = greatest(r.last_at, excluded.last_at), said = excluded.said
    )
    insert into postmeter.request_refused as r (door, reason, n)
    select g.door, g.reason, sum(g.n) from given g group by 1, 2 order by 1, 2
    on conflict (door, reason) do update set n = r.n + excluded.n;
    delete from postmeter.request_refusal r where r.hour < now - kept;
end
$$;
comment on function postmeter.count_refusals(text, text[], text[], bigint[], text[]) is
    'Counts request statuses that a door refused, by field and reason, with what was said to one of each; what '
    'nobody knows counts as other. Whoever calls it can make counts larger and no table longer. Forgets what is '
    'older than setting.tracker_refusals_kept.';
