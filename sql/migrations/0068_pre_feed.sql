-- 0068_pre_feed: a batch of request statuses is read as HTTP and files are; noise is refused; refusals are counted.
-- programs: from 0022
-- lock: access exclusive on setting, grows with its rows: columns of its one row

alter table postmeter.setting
    add column tracker_noise text[] not null default array['-1', 'None', 'null'],
    add column tracker_refusals_kept interval not null default '30 days' check (tracker_refusals_kept >= '1 hour');
comment on column postmeter.setting.tracker_noise is 'Request ids that name no request: what programs write where they have none. A status with one of these is refused.';
comment on column postmeter.setting.tracker_refusals_kept is 'Refusals of request statuses are listed for so long.';

-- one way to read a message ---------------------------------------------------------------------------------------------

create function postmeter.status_moment(given text) returns timestamptz
language sql stable parallel safe
-- what it takes is written once more in remittance::request::date: the two must agree. One expression, so that it is
-- inlined, which is half of what reading a batch costs
return case
    when ltrim(given, E' \t\n\x0B\f\r') like '0000%' then null
    when given ~ '^[ \t\n\v\f\r]*[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt]|[ \t\n\v\f\r]+)(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?(?:[Zz]|[+-](?:0[0-9]|1[0-5])(?::?[0-5][0-9])?)[ \t\n\v\f\r]*$'
        then given::timestamptz
    when given ~ '^[ \t\n\v\f\r]*[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt]|[ \t\n\v\f\r]+)(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?[ \t\n\v\f\r]*$'
        then (btrim(given, E' \t\n\x0B\f\r') || 'Z')::timestamptz
end;
comment on function postmeter.status_moment(text) is
    'A date of a request status: RFC 3339, where the T may be white space, and seconds and zone may be missing; without a zone it is UTC, whatever the session''s is. Null: it is none (today and tomorrow are words, not dates). A day that no month has is an error.';

create function postmeter.read_statuses(statuses jsonb) returns table (
    service text, request_id text, status text, date timestamptz, source text, status_msg text, account text, org text,
    inventory_id text, system_id text, is_odd boolean, ordinality bigint)
language sql stable parallel safe
begin atomic
    select g.service, g.request_id, g.status, m.moment, g.source, g.status_msg, g.account,
           coalesce(nullif(g.org, ''), g.org_id), g.inventory_id, g.system_id,
           coalesce(nullif(g.date, '') is not null and m.moment is null, false)
           -- is anything odd? only then: which of the fields that are read
           or case when (select statuses @? '$[*].* ? (@.type() == "object" || @.type() == "array" || @.type() == "boolean")')
               then exists (select from jsonb_each(case when jsonb_typeof(g.message) = 'object' then g.message end) e
                            where jsonb_typeof(e.value) in ('object', 'array', 'boolean')
                              and e.key in ('service', 'request_id', 'status', 'date', 'source', 'status_msg', 'account',
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
    'The messages of a batch as rows: numbers count as text, org_id is org where that is missing, dates are read as status_moment reads them. is_odd: a field is neither text nor number, or its date is none; then track_message says which.';

create function postmeter.track_message(message jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    field text;
    given text := nullif(message ->> 'date', '');
    moment timestamptz;
begin
    if jsonb_typeof(message) is distinct from 'object' then
        raise exception 'request status: must be a JSON object' using errcode = 'PM001', column = 'statuses', constraint = 'statuses_object';
    end if;
    foreach field in array array['request_id', 'service', 'status', 'source', 'status_msg', 'account', 'org', 'org_id',
                                 'inventory_id', 'system_id', 'date'] loop
        if jsonb_typeof(message -> field) in ('object', 'array', 'boolean') then
            raise exception 'request status: % must be text', field
                using errcode = 'PM001', schema = 'postmeter', table = 'request_status', column = field, constraint = field || '_text';
        end if;
    end loop;
    begin
        moment := postmeter.status_moment(given);
    exception when data_exception then
        moment := null;
    end;
    if given is not null and moment is null then
        raise exception 'request status: date "%" is no time such as 2026-03-10T09:00:00Z', left(given, 100)
            using errcode = '22007', schema = 'postmeter', table = 'request_status', column = 'date', constraint = 'date_unreadable';
    end if;
    return postmeter.track(message ->> 'service', message ->> 'request_id', message ->> 'status', moment, message ->> 'source',
        message ->> 'status_msg', message ->> 'account', coalesce(nullif(message ->> 'org', ''), message ->> 'org_id'),
        message ->> 'inventory_id', message ->> 'system_id');
end
$$;
comment on function postmeter.track_message(jsonb) is
    'Records one message of a batch, or says which field of it cannot be read, and why. Errors: those of track, 22007 (date), PM001 (a field is neither text nor number).';

-- track and track_batch stay as they are but for how they read, and that they refuse noise
do $do$
declare
    part record;
    body text;
begin
    for part in
        select * from (values
            ('postmeter.track(text, text, text, timestamptz, text, text, text, text, text, text)',
             E'    with said as (\n',
             E'    if exists (select from postmeter.setting s where track.request_id = any (s.tracker_noise)) then\n'
             || E'        raise exception ''request status: request_id names no request: setting.tracker_noise lists it''\n'
             || E'            using errcode = ''PM001'', schema = ''postmeter'', table = ''request_status'', column = ''request_id'', constraint = ''request_id_noise'';\n'
             || E'    end if;\n    with said as (\n'),
            ('postmeter.track_batch(jsonb)', 'select g.ordinality,', 'select g.is_odd, g.ordinality,'),
            ('postmeter.track_batch(jsonb)',
             '(?n)from rows from \(jsonb_to_recordset\(statuses\) as [^\n]*\n[^\n]*\n[^\n]*ordinality\)\n',
             E'from postmeter.read_statuses(statuses) g\n'),
            ('postmeter.track_batch(jsonb)', 'where not exists (select from given f where postmeter.status_fault(',
             E'where not exists (select from given f where f.is_odd\n'
             || E'                or f.request_id in (select unnest(s.tracker_noise) from postmeter.setting s) or postmeter.status_fault('),
            ('postmeter.track_batch(jsonb)', '(?n)            if jsonb_typeof\(status\) <> ''object'' then\n[^\n]*\n            end if;\n', ''),
            ('postmeter.track_batch(jsonb)',
             '(?n)case when postmeter.track\(status ->> ''service'',[^;]*\n[^;]*\n[^;]*then ''recorded'' else ''repeated'' end;',
             'case when postmeter.track_message(status) then ''recorded'' else ''repeated'' end;')
        ) p(name, find, put)
    loop
        body := pg_get_functiondef(part.name::regprocedure);
        if part.find like '(?n)%' then
            part.put := regexp_replace(body, part.find, part.put);
        else
            part.put := replace(body, part.find, part.put);
        end if;
        if part.put = body then
            raise exception '% has another text than this migration knows: %', part.name, part.find;
        end if;
        execute part.put;
    end loop;
end
$do$;

-- what was refused ------------------------------------------------------------------------------------------------------

create table postmeter.request_refusal (
    hour     timestamptz not null,
    door     text collate "C" not null check (door in ('http', 'import')),
    field    text collate "C" not null check (field in ('', 'service', 'request_id', 'status', 'date', 'source', 'status_msg',
                 'account', 'org', 'org_id', 'inventory_id', 'system_id')),
    reason   text collate "C" not null check (reason in ('missing', 'length', 'text', 'unreadable', 'range', 'noise',
                 'nul', 'json', 'utf8', 'object', 'twice', 'other_org', 'other')),
    n        bigint not null check (n > 0),
    first_at timestamptz not null,
    last_at  timestamptz not null,
    said     text not null check (octet_length(said) <= 800),
    primary key (hour, door, field, reason)
) with (fillfactor = 70);
comment on table postmeter.request_refusal is 'Request statuses that were refused, counted by hour, door, field and reason: as many rows an hour at most as these have combinations, whoever sends what. Older ones than setting.tracker_refusals_kept go when others come.';
comment on column postmeter.request_refusal.hour is 'The hour in which they were refused.';
comment on column postmeter.request_refusal.door is 'Where they came in: http, or import (a file or a pipe). What postmeter.track refuses is told to its caller alone: its transaction does not stay.';
comment on column postmeter.request_refusal.field is 'The field that was wrong; empty: the whole message.';
comment on column postmeter.request_refusal.reason is 'missing, length, text (neither text nor number), unreadable or range (a date), noise (setting.tracker_noise), nul (U+0000), json, utf8, object (none), twice (a key), other_org (of another than the token''s), other.';
comment on column postmeter.request_refusal.n is 'How many.';
comment on column postmeter.request_refusal.first_at is 'The first of them.';
comment on column postmeter.request_refusal.last_at is 'The last of them.';
comment on column postmeter.request_refusal.said is 'What was said to the last of them, up to 200 characters.';

create table postmeter.request_refused (
    door   text collate "C" not null,
    reason text collate "C" not null,
    n      bigint not null,
    primary key (door, reason)
) with (fillfactor = 50);
comment on table postmeter.request_refused is 'How many request statuses were ever refused, for the metric; never less than before.';
comment on column postmeter.request_refused.door is 'See request_refusal.door.';
comment on column postmeter.request_refused.reason is 'See request_refusal.reason.';
comment on column postmeter.request_refused.n is 'How many.';

create function postmeter.count_refusals(door text, fields text[], reasons text[], counts bigint[], said text[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    now  timestamptz := postmeter.clock();
    kept interval := (select s.tracker_refusals_kept from postmeter.setting s);
begin
    if cardinality(fields) > 200 or coalesce(door, '') not in ('http', 'import') then
        raise exception 'refusals: at most 200 kinds, of http or import' using errcode = 'PM001', column = 'door', constraint = 'refusals';
    end if;
    -- sorted, so that two that count at once wait for each other instead of deadlocking
    with given as materialized (
        select count_refusals.door as door, case when g.field = any (array['service', 'request_id', 'status', 'date', 'source',
                   'status_msg', 'account', 'org', 'org_id', 'inventory_id', 'system_id']) then g.field else '' end as field,
               case when g.reason = any (array['missing', 'length', 'text', 'unreadable', 'range', 'noise', 'nul', 'json',
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
    'Counts request statuses that a door refused, by field and reason, with what was said to one of each; what nobody knows counts as other. Whoever calls it can make counts larger and no table longer. Forgets what is older than setting.tracker_refusals_kept.';

create view postmeter.request_refusal_list as
    select r.hour, r.door, r.field, r.reason, r.n, r.first_at, r.last_at, r.said,
           to_char(r.hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24') || '/' || r.door || '/' || r.field || '/' || r.reason as id
    from postmeter.request_refusal r
    where r.hour >= postmeter.clock() - (select s.tracker_refusals_kept from postmeter.setting s);
comment on view postmeter.request_refusal_list is 'Request statuses that HTTP and imports refused, by hour, door, field and reason.';
comment on column postmeter.request_refusal_list.id is 'Hour, door, field and reason in one text.';
comment on column postmeter.request_refusal_list.hour is 'See request_refusal.hour.';
comment on column postmeter.request_refusal_list.door is 'See request_refusal.door.';
comment on column postmeter.request_refusal_list.field is 'See request_refusal.field.';
comment on column postmeter.request_refusal_list.reason is 'See request_refusal.reason.';
comment on column postmeter.request_refusal_list.n is 'How many.';
comment on column postmeter.request_refusal_list.first_at is 'The first of them.';
comment on column postmeter.request_refusal_list.last_at is 'The last of them.';
comment on column postmeter.request_refusal_list.said is 'See request_refusal.said.';

revoke execute on function postmeter.status_moment(text), postmeter.read_statuses(jsonb), postmeter.track_message(jsonb),
    postmeter.count_refusals(text, text[], text[], bigint[], text[]) from public;
grant execute on function postmeter.count_refusals(text, text[], text[], bigint[], text[])
    to postmeter_producer, postmeter_worker;
grant select on postmeter.request_refusal, postmeter.request_refused, postmeter.request_refusal_list
    to postmeter_reader, postmeter_operator, postmeter_worker;

insert into postmeter.migration (version, name) values (68, '0068_pre_feed');
