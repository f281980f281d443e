-- 0018_pre_tracker: what services say about a request on its way, and the requests made of it.
-- programs: from 0018
-- lock: access exclusive on setting, grows with its rows: columns with checks; it has one row
-- lock: share on usage, grows with its rows: an index for requests

alter table postmeter.setting
    add column tracker_retention interval not null default '30 days' check (tracker_retention >= '1 day'),
    add column tracker_unfinished_after interval not null default '1 hour' check (tracker_unfinished_after >= '0'),
    add column tracker_success text[] not null default '{success,succeeded,completed,finished,done}',
    add column tracker_failure text[] not null default '{error,failed,failure}';
comment on column postmeter.setting.tracker_retention is 'Request statuses older than this are dropped, by the day.';
comment on column postmeter.setting.tracker_unfinished_after is 'An open request without a new status for this long is in unfinished_request.';
comment on column postmeter.setting.tracker_success is 'Statuses, in lower case, with which a service has finished well.';
comment on column postmeter.setting.tracker_failure is 'Statuses, in lower case, with which a service has failed.';

create function postmeter.request_key_of(request_id text) returns text
language sql immutable parallel safe
as $$
    select case when request_id ~ '^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$'
                then translate(request_id, 'ABCDEF-', 'abcdef') else request_id end
$$;
comment on function postmeter.request_key_of(text) is 'What makes two request ids the same request: a UUID in any form is its 32 digits in lower case; any other text is itself.';

create function postmeter.request_status_digest(
    service text, source text, status text, status_msg text, account text, org text, inventory_id text, system_id text
) returns uuid
language sql stable parallel safe
as $$
    select encode(substring(sha256(convert_to(
        length(service) || ':' || service || length(source) || ':' || source || length(status) || ':' || status
        || length(status_msg) || ':' || status_msg || length(account) || ':' || account || length(org) || ':' || org
        || length(inventory_id) || ':' || inventory_id || system_id, 'UTF8')) from 1 for 16), 'hex')::uuid
$$;
comment on function postmeter.request_status_digest(text, text, text, text, text, text, text, text) is
    'With request and date: what must be equal for two messages to be the same message.';

create table postmeter.request_status (
    request_key  text collate "C" not null,
    date         timestamptz not null,
    digest       uuid not null,
    kind         bigint not null generated always as
                 (hashtextextended(status, hashtextextended(source, hashtextextended(service, 0)))) stored,
    message      bigint not null generated always as (hashtextextended(status_msg, 0)) stored,
    request_id   text collate "C" not null,
    service      text collate "C" not null,
    source       text collate "C" not null,
    status       text collate "C" not null,
    status_msg   text collate "C" not null,
    account      text collate "C" not null,
    org          text collate "C" not null,
    inventory_id text collate "C" not null,
    system_id    text collate "C" not null,
    recorded_at  timestamptz not null,
    primary key (request_key, date, digest)
) partition by range (date);
create table postmeter.request_status_default partition of postmeter.request_status default;
create index request_status_by_date on postmeter.request_status (date);
create index request_status_by_recording on postmeter.request_status (recorded_at);
create index request_status_by_kind on postmeter.request_status (kind, date);
create index request_status_by_message on postmeter.request_status (left(status_msg, 100), date);
create index request_status_by_kind_and_message on postmeter.request_status (kind, left(status_msg, 100), date);
comment on table postmeter.request_status is 'What a service said about a request: one row a message, for ever until its day is dropped. One partition a day.';
comment on table postmeter.request_status_default is 'Request statuses of days that have no partition: no row is ever refused for want of one. Maintenance moves them once their day has one.';
comment on column postmeter.request_status.request_key is 'The request, whatever form its id was given in (postmeter.request_key_of).';
comment on column postmeter.request_status.date is 'When it happened, as the service says; without that, when it was recorded.';
comment on column postmeter.request_status.digest is 'Hash of the message: the same message twice is one row.';
comment on column postmeter.request_status.kind is 'Hash of service, source and status: short enough for indexes, and the same for whoever names a status first.';
comment on column postmeter.request_status.message is 'Hash of status_msg, to count by.';
comment on column postmeter.request_status.request_id is 'The request''s id as it was given.';
comment on column postmeter.request_status.service is 'Who said it, in lower case.';
comment on column postmeter.request_status.source is 'Which part of the service, in lower case; empty: none.';
comment on column postmeter.request_status.status is 'What was said, in lower case.';
comment on column postmeter.request_status.status_msg is 'In more words; empty: none.';
comment on column postmeter.request_status.account is 'Account of the request, where this message says it.';
comment on column postmeter.request_status.org is 'Org of the request, where this message says it.';
comment on column postmeter.request_status.inventory_id is 'Inventory id of the request, where this message says it.';
comment on column postmeter.request_status.system_id is 'System id of the request, where this message says it.';
comment on column postmeter.request_status.recorded_at is 'When it was recorded, on postmeter.clock().';

create table postmeter.request_news (
    xid         xid8   not null default pg_current_xact_id(),
    id          bigint generated always as identity,
    request_key text collate "C" not null,
    date        timestamptz not null,
    digest      uuid not null,
    kind        bigint not null,
    message     bigint not null,
    recorded_at timestamptz not null,
    primary key (xid, id)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
comment on table postmeter.request_news is 'Request statuses that gather has not counted yet. Inserted with the status, deleted by gather, never updated: writers never wait for one another.';
comment on column postmeter.request_news.xid is 'The transaction that recorded it: gather knows below which none can add any more.';
comment on column postmeter.request_news.id is 'Order within the transaction.';
comment on column postmeter.request_news.request_key is 'The request.';
comment on column postmeter.request_news.date is 'Date of the status.';
comment on column postmeter.request_news.digest is 'Which of that date.';
comment on column postmeter.request_news.kind is 'Its kind.';
comment on column postmeter.request_news.message is 'Its message.';
comment on column postmeter.request_news.recorded_at is 'When it was recorded.';

create table postmeter.request_floor (
    only_row boolean not null default true primary key check (only_row),
    xid      xid8   not null default '0',
    id       bigint not null default 0
) with (fillfactor = 50);
insert into postmeter.request_floor default values;
comment on table postmeter.request_floor is 'Below this nothing is left in request_news and nothing can come: a scan that begins here walks over no dead rows.';
comment on column postmeter.request_floor.only_row is 'Always true: there is one row.';
comment on column postmeter.request_floor.xid is 'Transactions before this one have ended and were gathered.';
comment on column postmeter.request_floor.id is 'Of this transaction, what is below.';

create function postmeter.request_floor_now() returns postmeter.request_floor
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- a database that was loaded into another cluster, where transactions count anew, begins from the start
    select true, case when f.xid <= pg_snapshot_xmin(pg_current_snapshot()) then f.xid else '0' end,
           case when f.xid <= pg_snapshot_xmin(pg_current_snapshot()) then f.id else 0 end
    from postmeter.request_floor f
$$;
comment on function postmeter.request_floor_now() is 'The floor, or zero if it is not of this cluster.';

create table postmeter.request (
    id            bigint generated always as identity primary key,
    request_key   text collate "C" not null unique,
    request_id    text collate "C" not null,
    account       text collate "C" not null,
    org           text collate "C" not null,
    inventory_id  text collate "C" not null,
    system_id     text collate "C" not null,
    created_at    timestamptz not null,
    first_date    timestamptz not null,
    last_date     timestamptz not null,
    last_recorded_at timestamptz not null,
    statuses      bigint not null check (statuses > 0),
    kinds         bigint[] not null,
    outcome       text not null check (outcome in ('open', 'succeeded', 'failed')),
    failed_service text collate "C",
    failure       text,
    open_services text[] not null
) with (fillfactor = 80);
create index request_by_creation on postmeter.request (created_at, request_key);
create index request_by_account on postmeter.request (account, created_at, request_key);
create index request_by_org on postmeter.request (org, created_at, request_key);
create index request_by_inventory on postmeter.request (inventory_id, created_at, request_key);
create index request_by_system on postmeter.request (system_id, created_at, request_key);
create index request_by_org_and_account on postmeter.request (org, account, created_at, request_key);
create index request_by_outcome on postmeter.request (outcome, created_at, request_key) where outcome <> 'succeeded';
create index request_open on postmeter.request (last_recorded_at) where outcome = 'open';
create index request_by_end on postmeter.request (last_date);
comment on table postmeter.request is 'One row a request, computed by gather from its statuses.';
comment on column postmeter.request.id is 'Its number.';
comment on column postmeter.request.request_key is 'See request_status.request_key.';
comment on column postmeter.request.request_id is 'Its id in the form in which it was first recorded.';
comment on column postmeter.request.account is 'The latest account that a message gave; empty: none did.';
comment on column postmeter.request.org is 'The latest org that a message gave; empty: none did.';
comment on column postmeter.request.inventory_id is 'The latest inventory id that a message gave; empty: none did.';
comment on column postmeter.request.system_id is 'The latest system id that a message gave; empty: none did.';
comment on column postmeter.request.created_at is 'Date of the message that was recorded first; never changed afterwards.';
comment on column postmeter.request.first_date is 'Earliest date of its messages.';
comment on column postmeter.request.last_date is 'Latest date of its messages.';
comment on column postmeter.request.last_recorded_at is 'When the last of them was recorded.';
comment on column postmeter.request.statuses is 'How many messages there are.';
comment on column postmeter.request.kinds is 'Kinds of its messages (request_status_kind).';
comment on column postmeter.request.outcome is 'failed: some service failed last; else open: some service has not finished; else succeeded.';
comment on column postmeter.request.failed_service is 'The service that failed first.';
comment on column postmeter.request.failure is 'What that service said.';
comment on column postmeter.request.open_services is 'Services that said something and have not finished.';

create table postmeter.request_status_kind (
    kind    bigint not null primary key,
    service text collate "C" not null,
    source  text collate "C" not null,
    status  text collate "C" not null,
    total   bigint not null
) with (fillfactor = 50);
comment on table postmeter.request_status_kind is 'Which services, sources and statuses there are, and how often each was recorded in all.';
comment on column postmeter.request_status_kind.kind is 'See request_status.kind.';
comment on column postmeter.request_status_kind.service is 'The service.';
comment on column postmeter.request_status_kind.source is 'The source; empty: none.';
comment on column postmeter.request_status_kind.status is 'The status.';
comment on column postmeter.request_status_kind.total is 'How many were ever counted, dropped ones included.';

create table postmeter.request_status_count (
    kind          bigint not null,
    hour          timestamptz not null,
    recorded_hour timestamptz not null,
    n             bigint not null,
    primary key (kind, hour, recorded_hour)
) with (fillfactor = 70);
create index request_status_count_by_hour on postmeter.request_status_count (hour);
comment on table postmeter.request_status_count is 'How many statuses there are per kind, hour of their date and hour of their recording: what makes true counts cheap.';
comment on column postmeter.request_status_count.kind is 'The kind.';
comment on column postmeter.request_status_count.hour is 'Hour of their date.';
comment on column postmeter.request_status_count.recorded_hour is 'Hour of their recording.';
comment on column postmeter.request_status_count.n is 'How many.';

create table postmeter.request_message_count (
    message       bigint not null,
    kind          bigint not null,
    hour          timestamptz not null,
    recorded_hour timestamptz not null,
    n             bigint not null,
    primary key (message, kind, hour, recorded_hour)
) with (fillfactor = 70);
create index request_message_count_by_hour on postmeter.request_message_count (hour);
comment on table postmeter.request_message_count is 'The same, for one status_msg.';
comment on column postmeter.request_message_count.message is 'The message.';
comment on column postmeter.request_message_count.kind is 'The kind.';
comment on column postmeter.request_message_count.hour is 'Hour of their date.';
comment on column postmeter.request_message_count.recorded_hour is 'Hour of their recording.';
comment on column postmeter.request_message_count.n is 'How many.';

create table postmeter.request_count (
    org     text collate "C" not null,
    account text collate "C" not null,
    outcome text collate "C" not null,
    hour    timestamptz not null,
    n       bigint not null,
    primary key (org, account, outcome, hour)
) with (fillfactor = 70);
create index request_count_by_account on postmeter.request_count (account, hour);
comment on table postmeter.request_count is 'How many requests there are per org, account, outcome and hour of creation.';
comment on column postmeter.request_count.org is 'The org; empty: none known.';
comment on column postmeter.request_count.account is 'The account; empty: none known.';
comment on column postmeter.request_count.outcome is 'See request.outcome.';
comment on column postmeter.request_count.hour is 'Hour of created_at.';
comment on column postmeter.request_count.n is 'How many.';

create table postmeter.request_hour (
    outcome text collate "C" not null,
    hour    timestamptz not null,
    n       bigint not null,
    primary key (outcome, hour)
) with (fillfactor = 70);
comment on table postmeter.request_hour is 'How many requests there are per outcome and hour of creation.';
comment on column postmeter.request_hour.outcome is 'See request.outcome.';
comment on column postmeter.request_hour.hour is 'Hour of created_at.';
comment on column postmeter.request_hour.n is 'How many.';

create function postmeter.status_fault(
    service text, request_id text, status text, date timestamptz, source text, status_msg text,
    account text, org text, inventory_id text, system_id text
) returns text
language sql immutable parallel safe
as $$
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
    end
$$;
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
    fault text := postmeter.status_fault(service, request_id, status, date, source, status_msg, account, org, inventory_id, system_id);
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
    with said as (
        insert into postmeter.request_status (request_key, date, digest, request_id, service, source, status, status_msg,
                                              account, org, inventory_id, system_id, recorded_at)
        select postmeter.request_key_of(m.request_id), coalesce(m.date, m.now),
               postmeter.request_status_digest(m.service, m.source, m.status, m.status_msg, m.account, m.org, m.inventory_id, m.system_id),
               m.request_id, m.service, m.source, m.status, m.status_msg, m.account, m.org, m.inventory_id, m.system_id, m.now
        from (select track.request_id, track.date, lower(track.service) as service, lower(coalesce(track.source, '')) as source,
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
    'Records what a service says about a request, in the caller''s transaction. True: recorded; false: this very message was recorded before. Errors: 23502, PM001 (docs/tracking.md).';

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
        raise exception 'statuses must be a JSON array of objects' using errcode = 'PM001', column = 'statuses', constraint = 'statuses_array';
    end if;
    begin
        return query
        with given as materialized (
            select g.ordinality, g.request_id, postmeter.request_key_of(g.request_id) as key, coalesce(g.date, now) as date,
                   lower(g.service) as service, lower(coalesce(g.source, '')) as source, lower(g.status) as status,
                   coalesce(g.status_msg, '') as status_msg, coalesce(g.account, '') as account, coalesce(g.org, '') as org,
                   coalesce(g.inventory_id, '') as inventory_id, coalesce(g.system_id, '') as system_id
            from rows from (jsonb_to_recordset(statuses) as (service text, request_id text, status text, date timestamptz,
                    source text, status_msg text, account text, org text, inventory_id text, system_id text))
                 with ordinality g(service, request_id, status, date, source, status_msg, account, org, inventory_id, system_id, ordinality)
        ), hashed as materialized (
            select g.*, postmeter.request_status_digest(g.service, g.source, g.status, g.status_msg, g.account, g.org,
                                                        g.inventory_id, g.system_id) as digest
            from given g
            where not exists (select from given f where postmeter.status_fault(f.service, f.request_id, f.status, f.date,
                f.source, f.status_msg, f.account, f.org, f.inventory_id, f.system_id) is not null)
        ), said as (
            -- sorted, so that two batches with the same messages wait for each other instead of deadlocking
            insert into postmeter.request_status (request_key, date, digest, request_id, service, source, status, status_msg,
                                                  account, org, inventory_id, system_id, recorded_at)
            select h.key, h.date, h.digest, h.request_id, h.service, h.source, h.status, h.status_msg,
                   h.account, h.org, h.inventory_id, h.system_id, now
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
            if jsonb_typeof(status) <> 'object' then
                raise exception 'request status: must be an object' using errcode = 'PM001', column = 'statuses', constraint = 'statuses_object';
            end if;
            verdict := case when postmeter.track(status ->> 'service', status ->> 'request_id', status ->> 'status',
                (status ->> 'date')::timestamptz, status ->> 'source', status ->> 'status_msg', status ->> 'account',
                status ->> 'org', status ->> 'inventory_id', status ->> 'system_id') then 'recorded' else 'repeated' end;
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
    'Records many request statuses in one round trip: an array of objects with the parameters of track. A verdict per item: recorded, repeated or refused (with error code, field and message); what is refused does not stop the rest.';

create function postmeter.gather_requests(most integer) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp set jit = off set enable_mergejoin = off set enable_seqscan = off set plan_cache_mode = force_custom_plan
as $$
declare
    settings postmeter.setting;
    keys     text[];
    dates    timestamptz[];
    digests  uuid[];
    kinds    bigint[];
    messages bigint[];
    moments  timestamptz[];
    gathered integer;
    floor    postmeter.request_floor;
    ended    xid8;
    last_xid xid8;
    last_id  bigint;
begin
    -- Planned by hand: every look-up in a large table is lateral, by its primary key (a range of one moment keeps the
    -- planner from the index by date, where thousands may share a date); what is joined otherwise is small.
    -- What was committed before this statement is seen by it; if another gathers, wait until it has.
    floor := postmeter.request_floor_now();
    if not exists (select from postmeter.request_news n where (n.xid, n.id) >= (floor.xid, floor.id)) then
        return 0;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('postmeter.gather_requests', 0));
    select * into settings from postmeter.setting;
    floor := postmeter.request_floor_now();
    -- transactions before this one have ended, so the next statement sees all that they recorded
    ended := pg_snapshot_xmin(pg_current_snapshot());
    with gone as (
        delete from postmeter.request_news n
        where (n.xid, n.id) in (select x.xid, x.id from postmeter.request_news x where (x.xid, x.id) >= (floor.xid, floor.id)
                                order by x.xid, x.id limit most)
        returning n.xid, n.id, n.request_key, n.date, n.digest, n.kind, n.message, n.recorded_at
    )
    select array_agg(g.request_key), array_agg(g.date), array_agg(g.digest), array_agg(g.kind), array_agg(g.message),
           array_agg(g.recorded_at), count(*), (array_agg(g.xid order by g.xid desc, g.id desc))[1], (array_agg(g.id order by g.xid desc, g.id desc))[1]
    into keys, dates, digests, kinds, messages, moments, gathered, last_xid, last_id from gone g;
    if gathered < most or last_xid >= ended then
        last_xid := ended; last_id := -1;
    end if;
    update postmeter.request_floor f set xid = last_xid, id = last_id + 1;
    if gathered = 0 then
        return 0;
    end if;

    insert into postmeter.request_status_kind (kind, service, source, status, total)
    select n.kind, r.service, r.source, r.status, 0
    from (select distinct on (x.kind) x.* from unnest(keys, dates, digests, kinds) x(key, date, digest, kind)
          where x.kind not in (select k.kind from postmeter.request_status_kind k) order by x.kind) n
    cross join lateral (
        select r.service, r.source, r.status from postmeter.request_status r
        where r.request_key = n.key and r.date >= n.date and r.date <= n.date and r.digest = n.digest offset 0
    ) r
    order by n.kind
    on conflict do nothing;
    update postmeter.request_status_kind k set total = k.total + n.n
    from (select x.kind, count(*) as n from unnest(kinds) x(kind) group by 1) n where k.kind = n.kind;
    insert into postmeter.request_status_count as c (kind, hour, recorded_hour, n)
    select n.kind, postmeter.hour_of(n.date), postmeter.hour_of(n.recorded_at), count(*)
    from unnest(kinds, dates, moments) n(kind, date, recorded_at) group by 1, 2, 3
    on conflict (kind, hour, recorded_hour) do update set n = c.n + excluded.n;
    insert into postmeter.request_message_count as c (message, kind, hour, recorded_hour, n)
    select n.message, n.kind, postmeter.hour_of(n.date), postmeter.hour_of(n.recorded_at), count(*)
    from unnest(messages, kinds, dates, moments) n(message, kind, date, recorded_at) group by 1, 2, 3, 4
    on conflict (message, kind, hour, recorded_hour) do update set n = c.n + excluded.n;

    with touched as materialized (
        select n.key, min(n.date) as first_date, max(n.date) as last_date, max(n.recorded_at) as last_recorded_at, count(*) as n,
               (array_agg(n.date order by n.recorded_at, n.date, n.digest))[1] as created_at,
               (array_agg(n.digest order by n.recorded_at, n.date, n.digest))[1] as created_by
        from unnest(keys, dates, digests, moments) n(key, date, digest, recorded_at) group by 1
    ), known as materialized (
        select t.key, least(t.first_date, q.first_date) as first_date, greatest(t.last_date, q.last_date) as last_date,
               greatest(t.last_recorded_at, q.last_recorded_at) as last_recorded_at, t.n, t.created_by,
               coalesce(q.created_at, t.created_at) as created_at, q.request_id,
               q.org as old_org, q.account as old_account, q.outcome as old_outcome,
               q.inventory_id as old_inventory_id, q.system_id as old_system_id
        from touched t
        left join lateral (select x.* from postmeter.request x where x.request_key = t.key offset 0) q on true
    ), said as materialized (
        -- of a request with more messages than any real one has, the latest count
        select k.key, k.old_account, k.old_org, k.old_inventory_id, k.old_system_id, s.*,
               s.status = any (settings.tracker_success) as is_success, s.status = any (settings.tracker_failure) as is_failure
        from known k
        cross join lateral (
            select r.date, r.digest, r.kind, r.service, r.status, r.status_msg, r.account, r.org, r.inventory_id, r.system_id
            from postmeter.request_status r
            where r.request_key = k.key and r.date between k.first_date and k.last_date
            order by r.date desc, r.digest desc limit 1000
        ) s
    ), service as materialized (
        select s.key, s.service, bool_or(s.is_success or s.is_failure) as has_finished, min(s.date) filter (where s.is_failure) as failed_at,
               (array_agg(s.is_failure order by s.date desc, s.digest desc) filter (where s.is_success or s.is_failure))[1] as has_failed,
               (array_agg(s.status_msg order by s.date desc, s.digest desc) filter (where s.is_failure))[1] as failure
        from said s group by 1, 2
    ), outcome as materialized (
        select v.key, coalesce(array_agg(v.service order by v.service) filter (where not v.has_finished), '{}') as open_services,
               (array_agg(v.service order by v.failed_at, v.service) filter (where v.has_failed))[1] as failed_service,
               (array_agg(v.failure order by v.failed_at, v.service) filter (where v.has_failed))[1] as failure
        from service v group by 1
    ), said_last as materialized (
        -- what only a dropped message said stays
        select s.key, array_agg(distinct s.kind) as kinds,
               coalesce((array_agg(s.account order by s.date desc, s.digest desc) filter (where s.account <> ''))[1], max(s.old_account), '') as account,
               coalesce((array_agg(s.org order by s.date desc, s.digest desc) filter (where s.org <> ''))[1], max(s.old_org), '') as org,
               coalesce((array_agg(s.inventory_id order by s.date desc, s.digest desc) filter (where s.inventory_id <> ''))[1], max(s.old_inventory_id), '') as inventory_id,
               coalesce((array_agg(s.system_id order by s.date desc, s.digest desc) filter (where s.system_id <> ''))[1], max(s.old_system_id), '') as system_id
        from said s group by 1
    ), computed as materialized (
        select k.*, l.kinds, l.account, l.org, l.inventory_id, l.system_id, o.open_services, o.failed_service, o.failure,
               case when o.failed_service is not null then 'failed' when o.open_services <> '{}' then 'open' else 'succeeded' end as outcome
        from known k
        join outcome o on o.key = k.key
        join said_last l on l.key = k.key
    ), written as (
        insert into postmeter.request as w (request_key, request_id, account, org, inventory_id, system_id, created_at, first_date,
            last_date, last_recorded_at, statuses, kinds, outcome, failed_service, failure, open_services)
        select k.key, coalesce(k.request_id, r.request_id), k.account, k.org, k.inventory_id, k.system_id, k.created_at, k.first_date,
               k.last_date, k.last_recorded_at, k.n, k.kinds, k.outcome, k.failed_service, k.failure, k.open_services
        from computed k
        left join lateral (
            select x.request_id from postmeter.request_status x
            where k.request_id is null and x.request_key = k.key
              and x.date >= k.created_at and x.date <= k.created_at and x.digest = k.created_by offset 0
        ) r on true
        on conflict (request_key) do update set account = excluded.account, org = excluded.org, inventory_id = excluded.inventory_id,
            system_id = excluded.system_id, first_date = excluded.first_date, last_date = excluded.last_date,
            last_recorded_at = excluded.last_recorded_at, statuses = w.statuses + excluded.statuses, kinds = excluded.kinds,
            outcome = excluded.outcome, failed_service = excluded.failed_service, failure = excluded.failure,
            open_services = excluded.open_services
    ), moved as (
        select k.org, k.account, k.outcome, postmeter.hour_of(k.created_at) as hour, 1 as n from computed k
        union all
        select k.old_org, k.old_account, k.old_outcome, postmeter.hour_of(k.created_at), -1 from computed k where k.old_org is not null
    ), counted as (
        insert into postmeter.request_count as c (org, account, outcome, hour, n)
        select m.org, m.account, m.outcome, m.hour, sum(m.n) from moved m group by 1, 2, 3, 4 having sum(m.n) <> 0
        on conflict (org, account, outcome, hour) do update set n = c.n + excluded.n
    )
    insert into postmeter.request_hour as c (outcome, hour, n)
    select m.outcome, m.hour, sum(m.n) from moved m group by 1, 2 having sum(m.n) <> 0
    on conflict (outcome, hour) do update set n = c.n + excluded.n;
    return gathered;
end
$$;
comment on function postmeter.gather_requests(integer) is
    'Counts request statuses that nobody has counted yet, at most so many, and computes their requests anew; returns how many. One at a time; a second caller waits.';

create trigger append_only before update or delete or truncate on postmeter.request_status
    for each statement when (current_setting('postmeter.moves_statuses', true) is distinct from 'on')
    execute function postmeter.forbid_change();
create trigger append_only before update or delete or truncate on postmeter.request_status_default
    for each statement when (current_setting('postmeter.moves_statuses', true) is distinct from 'on')
    execute function postmeter.forbid_change();

create function postmeter.create_request_partitions(days_ahead integer, days_back integer default 1) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set lock_timeout = '200ms'
as $$
declare
    columns text := 'request_key, date, digest, request_id, service, source, status, status_msg, account, org, inventory_id, system_id, recorded_at';
    today   timestamptz := date_trunc('day', postmeter.clock(), 'UTC');
    horizon timestamptz := (select date_trunc('day', postmeter.clock() - s.tracker_retention, 'UTC') from postmeter.setting s);
    day     timestamptz;
    name    text;
    made    integer := 0;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('postmeter.create_request_partitions', 0)) then
        return 0;
    end if;
    for day in
        select g from generate_series(today - make_interval(days => days_back), today + make_interval(days => days_ahead), '1 day') g where g >= horizon
        union
        select date_trunc('day', d.date, 'UTC') from postmeter.request_status_default d
        where d.date >= horizon and d.date < today + make_interval(days => days_ahead + 1)
        order by 1
    loop
        name := 'request_status_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass('postmeter.' || name) is not null;
        begin
            -- attached rather than created as a partition: that would lock the parent against readers
            execute format('create table postmeter.%I (like postmeter.request_status including defaults including generated including indexes)', name);
            execute format('comment on table postmeter.%I is %L', name, 'Request statuses of ' || to_char(day, 'YYYY-MM-DD') || '.');
            lock table postmeter.request_status_default in access exclusive mode;
            perform set_config('postmeter.moves_statuses', 'on', true);
            execute format('insert into postmeter.%I (%s) select %s from postmeter.request_status_default where date >= %L and date < %L',
                           name, columns, columns, day, day + interval '1 day');
            delete from postmeter.request_status_default d where d.date >= day and d.date < day + interval '1 day';
            perform set_config('postmeter.moves_statuses', 'off', true);
            execute format('alter table postmeter.request_status attach partition postmeter.%I for values from (%L) to (%L)',
                           name, day, day + interval '1 day');
            execute format('create trigger append_only before update or delete or truncate on postmeter.%I for each statement execute function postmeter.forbid_change()', name);
        exception when lock_not_available then
            -- somebody reads: the next round tries again, and nobody queues behind us for long
            perform set_config('postmeter.moves_statuses', 'off', true);
            continue;
        end;
        made := made + 1;
    end loop;
    return made;
end
$$;
comment on function postmeter.create_request_partitions(integer, integer) is
    'Makes the day partitions of request_status for so many days back and ahead, and for every day within the retention that has rows in the default partition, which it moves. Returns how many were made; those it could not lock at once are left for the next call.';

create function postmeter.drop_request_partitions() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set lock_timeout = '200ms'
as $$
declare
    horizon timestamptz := (select date_trunc('day', postmeter.clock() - s.tracker_retention, 'UTC') from postmeter.setting s);
    name    text;
    day     timestamptz;
    dropped integer := 0;
begin
    -- gather counts whole days while they are there
    perform pg_advisory_xact_lock(hashtextextended('postmeter.gather_requests', 0));
    for name in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'postmeter.request_status'::regclass and c.relname ~ '^request_status_[0-9]{8}$' order by 1 loop
        day := to_timestamp(right(name, 8), 'YYYYMMDD');
        exit when day >= horizon;
        begin
            execute format('drop table postmeter.%I', name);
        exception when lock_not_available then
            return dropped;
        end;
        delete from postmeter.request_news n where n.date >= day and n.date < day + interval '1 day';
        delete from postmeter.request_status_count c where c.hour >= day and c.hour < day + interval '1 day';
        delete from postmeter.request_message_count c where c.hour >= day and c.hour < day + interval '1 day';
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$$;
comment on function postmeter.drop_request_partitions() is
    'Drops the day partitions of request_status beyond setting.tracker_retention, with their counts. Returns how many; those it could not lock at once are left for the next call.';

create function postmeter.forget_requests(most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    horizon   timestamptz := (select date_trunc('day', postmeter.clock() - s.tracker_retention, 'UTC') from postmeter.setting s);
    forgotten integer;
    further   integer;
begin
    perform pg_advisory_xact_lock(hashtextextended('postmeter.gather_requests', 0));
    if exists (select from postmeter.request_news n where n.recorded_at < horizon) then
        return 0;
    end if;
    -- what was dated before its day had a partition
    perform set_config('postmeter.moves_statuses', 'on', true);
    with old as (
        select d.request_key, d.date, d.digest from postmeter.request_status_default d
        where d.date < horizon and d.recorded_at < horizon limit most
    ), gone as (
        delete from postmeter.request_status_default d using old o
        where d.request_key = o.request_key and d.date = o.date and d.digest = o.digest
        returning d.kind, d.message, d.date, d.recorded_at
    ), unsaid as (
        update postmeter.request_message_count c set n = c.n - g.n
        from (select x.message, x.kind, postmeter.hour_of(x.date) as hour, postmeter.hour_of(x.recorded_at) as recorded_hour, count(*) as n
              from gone x group by 1, 2, 3, 4) g
        where c.message = g.message and c.kind = g.kind and c.hour = g.hour and c.recorded_hour = g.recorded_hour
    ), uncounted as (
        update postmeter.request_status_count c set n = c.n - g.n
        from (select x.kind, postmeter.hour_of(x.date) as hour, postmeter.hour_of(x.recorded_at) as recorded_hour, count(*) as n
              from gone x group by 1, 2, 3) g
        where c.kind = g.kind and c.hour = g.hour and c.recorded_hour = g.recorded_hour
    )
    select count(*) into further from gone;
    perform set_config('postmeter.moves_statuses', 'off', true);
    with old as (
        select q.id from postmeter.request q
        where q.last_date < horizon
          and not exists (select from postmeter.request_status r where r.request_key = q.request_key and r.date <= q.last_date)
        order by q.last_date limit most
    ), gone as (
        delete from postmeter.request q using old o where q.id = o.id returning q.org, q.account, q.outcome, postmeter.hour_of(q.created_at) as hour
    ), uncounted as (
        update postmeter.request_count c set n = c.n - g.n
        from (select x.org, x.account, x.outcome, x.hour, count(*) as n from gone x group by 1, 2, 3, 4) g
        where c.org = g.org and c.account = g.account and c.outcome = g.outcome and c.hour = g.hour
    ), fewer as (
        update postmeter.request_hour c set n = c.n - g.n
        from (select x.outcome, x.hour, count(*) as n from gone x group by 1, 2) g
        where c.outcome = g.outcome and c.hour = g.hour
    )
    select count(*) into forgotten from gone;
    delete from postmeter.request_hour c where c.n = 0 and c.hour < horizon;
    delete from postmeter.request_count c where c.n = 0 and c.hour < horizon;
    delete from postmeter.request_status_count c where c.n = 0 and c.hour < horizon;
    delete from postmeter.request_message_count c where c.n = 0 and c.hour < horizon;
    return forgotten + further;
end
$$;
comment on function postmeter.forget_requests(integer) is
    'Removes requests, and statuses dated before any partition, that setting.tracker_retention has passed, at most so many of each; returns how many.';

-- squawk-ignore require-concurrent-index-creation
create index usage_request on postmeter.usage (postmeter.request_key_of(request_id)) where request_id is not null;

create function postmeter.request_steps(key text)
returns table (date timestamptz, service text, source text, status text, status_msg text, org text, account text, delivery_id bigint, usage_id uuid)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with used as materialized (
        select u.* from postmeter.usage u where u.request_id is not null and postmeter.request_key_of(u.request_id) = key
        order by u.id limit 1000
    ), remitted as materialized (
        select d.id, t.name as destination, d.status, d.reason, d.hour, d.quantity, d.cut_at, d.changed_at,
               min(u.org) as org, min(u.account) as account
        from used u
        join postmeter.allocation a on a.usage_id = u.id
        join postmeter.delivery d on d.id = a.delivery_id
        join postmeter.destination t on t.id = a.destination_id
        group by 1, 2, 3, 4, 5, 6, 7, 8
    )
    select u.recorded_at, 'postmeter', '', 'received', format('usage %s of %s: %s %s of %s', u.event_id, u.source, trim_scale(u.quantity), u.metric, u.product),
           u.org, coalesce(u.account, ''), null::bigint, u.id
    from used u
    union all
    select u.recorded_at, 'postmeter', '', 'success', format('usage %s of %s: exempt, %s', u.event_id, u.source, e.reason), u.org,
           coalesce(u.account, ''), null, u.id
    from used u join postmeter.exempted x on x.usage_id = u.id join postmeter.exemption e on e.id = x.exemption_id
    union all
    select h.held_at, 'postmeter', coalesce(t.name, ''), 'held', format('usage %s of %s: %s', u.event_id, u.source, h.reason), u.org,
           coalesce(u.account, ''), null, u.id
    from used u join postmeter.held h on h.usage_id = u.id left join postmeter.destination t on t.id = h.destination_id
    union all
    select r.cut_at, 'postmeter', r.destination, 'processing', format('remittance %s: hour cut, %s to send', r.id, r.quantity), r.org,
           coalesce(r.account, ''), r.id, null
    from remitted r where r.cut_at is not null and r.status <> 'open'
    union all
    select f.claimed_at, 'postmeter', r.destination, 'sent', format('remittance %s: attempt 1', r.id), r.org, coalesce(r.account, ''), r.id, null
    from remitted r
    cross join lateral (select a.claimed_at from postmeter.attempt a where a.delivery_id = r.id order by a.id limit 1) f
    union all
    select r.changed_at, 'postmeter', r.destination,
           case r.status when 'accepted' then 'success' when 'nothing_due' then 'success' when 'dry_run' then 'success'
                         when 'held' then 'held' when 'unknown' then 'unknown' else 'error' end,
           concat_ws(', ', format('remittance %s: %s', r.id, replace(r.status, '_', ' ')), r.reason,
                     (select nullif(concat_ws(': ', o.outcome, o.code), '') from postmeter.attempt a
                      join postmeter.outcome o on o.attempt_id = a.id where a.delivery_id = r.id order by a.id desc limit 1)),
           r.org, coalesce(r.account, ''), r.id, null
    from remitted r where r.status not in ('open', 'due', 'in_flight')
$$;
comment on function postmeter.request_steps(text) is
    'What Postmeter itself did with the usage of a request (by request_key), as statuses of a service: received, held, cut, sent, and how it ended at each destination. Computed from the ledger, never stored.';

create view postmeter.unfinished_request as
select q.request_id, q.org, q.account, q.inventory_id, q.system_id, q.open_services, q.statuses, q.created_at, q.last_date,
       q.last_recorded_at, postmeter.clock() - q.last_recorded_at as silent_for
from postmeter.request q
where q.outcome = 'open'
  and q.last_recorded_at < (select postmeter.clock() - s.tracker_unfinished_after from postmeter.setting s);
comment on view postmeter.unfinished_request is 'Requests that were received and never finished: some service has begun and not finished, and nothing was said for setting.tracker_unfinished_after.';

revoke execute on function postmeter.request_key_of(text), postmeter.request_floor_now(),
    postmeter.request_status_digest(text, text, text, text, text, text, text, text),
    postmeter.status_fault(text, text, text, timestamptz, text, text, text, text, text, text),
    postmeter.track(text, text, text, timestamptz, text, text, text, text, text, text), postmeter.track_batch(jsonb),
    postmeter.gather_requests(integer), postmeter.create_request_partitions(integer, integer), postmeter.drop_request_partitions(),
    postmeter.forget_requests(integer), postmeter.request_steps(text)
    from public;
grant execute on function postmeter.track(text, text, text, timestamptz, text, text, text, text, text, text), postmeter.track_batch(jsonb)
    to postmeter_producer, postmeter_worker;
grant execute on function postmeter.gather_requests(integer), postmeter.create_request_partitions(integer, integer),
    postmeter.drop_request_partitions(), postmeter.forget_requests(integer)
    to postmeter_worker;
-- a reader at the HTTP door is told what was committed before it asked
grant execute on function postmeter.gather_requests(integer) to postmeter_console;
grant execute on function postmeter.request_key_of(text), postmeter.request_steps(text), postmeter.request_floor_now()
    to postmeter_reader, postmeter_operator, postmeter_worker;
grant select on postmeter.request_status, postmeter.request_news, postmeter.request, postmeter.request_status_kind,
    postmeter.request_status_count, postmeter.request_message_count, postmeter.request_count, postmeter.request_hour,
    postmeter.request_floor, postmeter.unfinished_request
    to postmeter_reader, postmeter_operator, postmeter_worker;

select postmeter.create_request_partitions(7);

insert into postmeter.migration (version, name) values (18, '0018_pre_tracker');
