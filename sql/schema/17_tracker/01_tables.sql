-- The tracker: request statuses and what is computed from them.

create sequence postmeter.request_status_number;
comment on sequence postmeter.request_status_number is 'Numbers of request statuses.';

create table postmeter.request_status (
    request_key  text collate "C" not null,
    date         timestamptz      not null,
    digest       uuid             not null,
    kind         bigint           not null
        generated always as (hashtextextended(status, hashtextextended(source, hashtextextended(service, (0)::bigint))))
            stored,
    message      bigint           not null generated always as (hashtextextended(status_msg, (0)::bigint)) stored,
    request_id   text collate "C" not null,
    service      text collate "C" not null,
    source       text collate "C" not null,
    status       text collate "C" not null,
    status_msg   text collate "C" not null,
    account      text collate "C" not null,
    org          text collate "C" not null,
    inventory_id text collate "C" not null,
    system_id    text collate "C" not null,
    recorded_at  timestamptz      not null,
    number       bigint           not null default nextval('postmeter.request_status_number'),
    primary key (request_key, date, digest)
) partition by range (date);
alter sequence postmeter.request_status_number owned by postmeter.request_status.number;
create index request_status_by_date on postmeter.request_status (date);
create index request_status_by_recording on postmeter.request_status (recorded_at);
create index request_status_by_kind on postmeter.request_status (kind, date);
create index request_status_by_message on postmeter.request_status (left(status_msg, 100), date);
create index request_status_by_kind_and_message on postmeter.request_status (kind, left(status_msg, 100), date);
comment on table postmeter.request_status is
    'What a service said about a request: one row a message, for ever until its day is dropped. One partition a '
    'day.';
comment on column postmeter.request_status.request_key is
    'The request, whatever form its id was given in (postmeter.request_key_of).';
comment on column postmeter.request_status.date is
    'When it happened, as the service says; without that, when it was recorded.';
comment on column postmeter.request_status.digest is 'Hash of the message: the same message twice is one row.';
comment on column postmeter.request_status.kind is
    'Hash of service, source and status: short enough for indexes, and the same for whoever names a status first.';
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
comment on column postmeter.request_status.number is
    'Number of recording: of two messages of one date the larger number is the later. 0: recorded before there '
    'were numbers.';
create trigger append_only before delete or update or truncate on postmeter.request_status
    for each statement
    when (current_setting('postmeter.moves_statuses', true) is distinct from 'on')
    execute function postmeter.forbid_change();

create table postmeter.request_status_default partition of postmeter.request_status default;
comment on table postmeter.request_status_default is
    'Request statuses of days that have no partition: no row is ever refused for want of one. Maintenance moves '
    'them once their day has one.';
create trigger append_only before delete or update or truncate on postmeter.request_status_default
    for each statement
    when (current_setting('postmeter.moves_statuses', true) is distinct from 'on')
    execute function postmeter.forbid_change();

create table postmeter.request_news (
    xid         xid8             not null default pg_current_xact_id(),
    id          bigint           not null generated always as identity,
    request_key text collate "C" not null,
    date        timestamptz      not null,
    digest      uuid             not null,
    kind        bigint           not null,
    message     bigint           not null,
    recorded_at timestamptz      not null,
    primary key (xid, id)
) with (autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_cost_delay=0);
comment on table postmeter.request_news is
    'Request statuses that gather has not counted yet. Inserted with the status, deleted by gather, never updated: '
    'writers never wait for one another.';
comment on column postmeter.request_news.xid is
    'The transaction that recorded it: gather knows below which none can add any more.';
comment on column postmeter.request_news.id is 'Order within the transaction.';
comment on column postmeter.request_news.request_key is 'The request.';
comment on column postmeter.request_news.date is 'Date of the status.';
comment on column postmeter.request_news.digest is 'Which of that date.';
comment on column postmeter.request_news.kind is 'Its kind.';
comment on column postmeter.request_news.message is 'Its message.';
comment on column postmeter.request_news.recorded_at is 'When it was recorded.';

create table postmeter.request_floor (
    only_row boolean default true primary key check (only_row),
    xid      xid8    not null default '0'::xid8,
    id       bigint  not null default 0
) with (fillfactor=50);
comment on table postmeter.request_floor is
    'Below this nothing is left in request_news and nothing can come: a scan that begins here walks over no dead '
    'rows.';
comment on column postmeter.request_floor.only_row is 'Always true: there is one row.';
comment on column postmeter.request_floor.xid is 'Transactions before this one have ended and were gathered.';
comment on column postmeter.request_floor.id is 'Of this transaction, what is below.';

create table postmeter.request (
    id               bigint           generated always as identity primary key,
    request_key      text collate "C" not null unique,
    request_id       text collate "C" not null,
    account          text collate "C" not null,
    org              text collate "C" not null,
    inventory_id     text collate "C" not null,
    system_id        text collate "C" not null,
    created_at       timestamptz      not null,
    first_date       timestamptz      not null,
    last_date        timestamptz      not null,
    last_recorded_at timestamptz      not null,
    statuses         bigint           not null check (statuses > 0),
    kinds            bigint[]         not null,
    outcome          text collate "C" not null check (outcome in ('open', 'succeeded', 'failed')),
    failed_service   text collate "C",
    failure          text,
    open_services    text[]           not null,
    missing_services text[]           not null default '{}'::text[],
    silent_since     timestamptz,
    closed_at        timestamptz,
    words            bigint,
    known_at         timestamptz[],
    known_number     bigint[],
    known_digest     uuid[],
    dated_ahead      boolean
) with (fillfactor=80);
create index request_by_creation on postmeter.request (created_at, request_key);
create index request_by_account on postmeter.request (account, created_at, request_key);
create index request_by_org on postmeter.request (org, created_at, request_key);
create index request_by_inventory on postmeter.request (inventory_id, created_at, request_key);
create index request_by_system on postmeter.request (system_id, created_at, request_key);
create index request_by_org_and_account on postmeter.request (org, account, created_at, request_key);
create index request_by_end on postmeter.request (last_date);
create index request_by_duration on postmeter.request ((last_date - first_date), request_key);
create index request_by_outcome on postmeter.request (outcome, created_at, request_key) where outcome <> 'succeeded';
create index request_open on postmeter.request (last_recorded_at) where outcome = 'open';
comment on table postmeter.request is 'One row a request, computed by gather from its statuses.';
comment on column postmeter.request.id is 'Its number.';
comment on column postmeter.request.request_key is 'See request_status.request_key.';
comment on column postmeter.request.request_id is 'Its id in the form in which it was first recorded.';
comment on column postmeter.request.account is 'The latest account that a message gave; empty: none did.';
comment on column postmeter.request.org is 'The latest org that a message gave; empty: none did.';
comment on column postmeter.request.inventory_id is 'The latest inventory id that a message gave; empty: none did.';
comment on column postmeter.request.system_id is 'The latest system id that a message gave; empty: none did.';
comment on column postmeter.request.created_at is
    'Date of the message that was recorded first; never changed afterwards.';
comment on column postmeter.request.first_date is 'Earliest date of its messages.';
comment on column postmeter.request.last_date is 'Latest date of its messages.';
comment on column postmeter.request.last_recorded_at is 'When the last of them was recorded.';
comment on column postmeter.request.statuses is 'How many messages there are.';
comment on column postmeter.request.kinds is 'Kinds of its messages (request_status_kind).';
comment on column postmeter.request.outcome is
    'failed: some unit failed last; else open: some unit has not finished, or a service is awaited; else '
    'succeeded.';
comment on column postmeter.request.failed_service is 'The service that failed first.';
comment on column postmeter.request.failure is 'What that service said.';
comment on column postmeter.request.open_services is
    'Services that have begun and not finished, and those that a route of the catalogue awaits.';
comment on column postmeter.request.missing_services is
    'Of the open services those that a route of the catalogue awaits, and that never spoke.';
comment on column postmeter.request.silent_since is
    'When the unit was last heard of that has begun and not finished and is silent for longest; null: there is '
    'none.';
comment on column postmeter.request.closed_at is
    'When a person closed it: it is not unfinished, whatever its outcome. The next word about it opens it again. '
    'Null: it is not closed.';
comment on column postmeter.request.words is
    'By which words the outcome was computed (postmeter.tracker_words()); null, or others than today''s: it is '
    'computed anew from its messages.';
comment on column postmeter.request.known_at is
    'When account, org, inventory_id and system_id were said, in this order.';
comment on column postmeter.request.known_number is 'And under which numbers.';
comment on column postmeter.request.known_digest is 'And with which digests.';
comment on column postmeter.request.dated_ahead is
    'One of its messages is dated further ahead than allowed and counts by its recording, so its messages are not in '
    'order of their dates. Null: not known, computed before this was kept.';

create table postmeter.request_status_kind (
    kind    bigint           primary key,
    service text collate "C" not null,
    source  text collate "C" not null,
    status  text collate "C" not null,
    total   bigint           not null
) with (fillfactor=50);
comment on table postmeter.request_status_kind is
    'Which services, sources and statuses there are, and how often each was recorded in all.';
comment on column postmeter.request_status_kind.kind is 'See request_status.kind.';
comment on column postmeter.request_status_kind.service is 'The service.';
comment on column postmeter.request_status_kind.source is 'The source; empty: none.';
comment on column postmeter.request_status_kind.status is 'The status.';
comment on column postmeter.request_status_kind.total is 'How many were ever counted, dropped ones included.';

create table postmeter.request_status_count (
    kind          bigint      not null,
    hour          timestamptz not null,
    recorded_hour timestamptz not null,
    n             bigint      not null,
    primary key (kind, hour, recorded_hour)
) with (fillfactor=70);
create index request_status_count_by_hour on postmeter.request_status_count (hour);
comment on table postmeter.request_status_count is
    'How many statuses there are per kind, hour of their date and hour of their recording: what makes true counts '
    'cheap.';
comment on column postmeter.request_status_count.kind is 'The kind.';
comment on column postmeter.request_status_count.hour is 'Hour of their date.';
comment on column postmeter.request_status_count.recorded_hour is 'Hour of their recording.';
comment on column postmeter.request_status_count.n is 'How many.';

create table postmeter.request_message_count (
    message       bigint      not null,
    kind          bigint      not null,
    hour          timestamptz not null,
    recorded_hour timestamptz not null,
    n             bigint      not null,
    primary key (message, kind, hour, recorded_hour)
) with (fillfactor=70);
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
    hour    timestamptz      not null,
    n       bigint           not null,
    primary key (org, account, outcome, hour)
) with (fillfactor=70);
create index request_count_by_account on postmeter.request_count (account, hour);
comment on table postmeter.request_count is
    'How many requests there are per org, account, outcome and hour of creation.';
comment on column postmeter.request_count.org is 'The org; empty: none known.';
comment on column postmeter.request_count.account is 'The account; empty: none known.';
comment on column postmeter.request_count.outcome is 'See request.outcome.';
comment on column postmeter.request_count.hour is 'Hour of created_at.';
comment on column postmeter.request_count.n is 'How many.';

create table postmeter.request_hour (
    outcome text collate "C" not null,
    hour    timestamptz      not null,
    n       bigint           not null,
    primary key (outcome, hour)
) with (fillfactor=70);
comment on table postmeter.request_hour is 'How many requests there are per outcome and hour of creation.';
comment on column postmeter.request_hour.outcome is 'See request.outcome.';
comment on column postmeter.request_hour.hour is 'Hour of created_at.';
comment on column postmeter.request_hour.n is 'How many.';

create table postmeter.request_unit (
    request_key         text collate "C" not null,
    service             text collate "C" not null,
    source              text collate "C" not null,
    last_status         text collate "C" not null,
    last_at             timestamptz      not null,
    last_number         bigint           not null,
    last_digest         uuid             not null,
    begun_at            timestamptz,
    begun_number        bigint,
    begun_digest        uuid,
    succeeded_at        timestamptz,
    succeeded_number    bigint,
    succeeded_digest    uuid,
    failed_at           timestamptz,
    failed_number       bigint,
    failed_digest       uuid,
    first_failed_at     timestamptz,
    first_failed_number bigint,
    first_failed_digest uuid,
    failure             text,
    failure_at          timestamptz,
    failure_number      bigint,
    failure_digest      uuid,
    heard_at            timestamptz      not null,
    primary key (request_key, service, source)
) with (fillfactor=80);
comment on table postmeter.request_unit is
    'What each unit of a request, a service and a source, said last: all that the verdict needs. Grows with units, '
    'not with messages.';
comment on column postmeter.request_unit.request_key is 'See request_status.request_key.';
comment on column postmeter.request_unit.service is 'The service.';
comment on column postmeter.request_unit.source is 'The source; empty: none was named.';
comment on column postmeter.request_unit.last_status is 'Its last word.';
comment on column postmeter.request_unit.last_at is
    'When it said that: the date, or the recording of what was dated too far ahead (setting.tracker_lead_max).';
comment on column postmeter.request_unit.last_number is 'And under which number.';
comment on column postmeter.request_unit.last_digest is
    'And with which digest: it orders what has one date and no number.';
comment on column postmeter.request_unit.begun_at is 'When it last said a word of setting.tracker_begun; null: never.';
comment on column postmeter.request_unit.begun_number is 'And under which number.';
comment on column postmeter.request_unit.begun_digest is
    'And with which digest: it orders what has one date and no number.';
comment on column postmeter.request_unit.succeeded_at is
    'When it last said a word of setting.tracker_success; null: never.';
comment on column postmeter.request_unit.succeeded_number is 'And under which number.';
comment on column postmeter.request_unit.succeeded_digest is
    'And with which digest: it orders what has one date and no number.';
comment on column postmeter.request_unit.failed_at is
    'When it last said a word of setting.tracker_failure; null: never.';
comment on column postmeter.request_unit.failed_number is 'And under which number.';
comment on column postmeter.request_unit.failed_digest is
    'And with which digest: it orders what has one date and no number.';
comment on column postmeter.request_unit.first_failed_at is
    'When it first did since its last success; null: it has not failed since.';
comment on column postmeter.request_unit.first_failed_number is 'And under which number.';
comment on column postmeter.request_unit.first_failed_digest is 'And with which digest.';
comment on column postmeter.request_unit.failure is
    'What it said in more words when it last failed with any, since its last success; null: nothing.';
comment on column postmeter.request_unit.failure_at is 'When it said that.';
comment on column postmeter.request_unit.failure_number is 'And under which number.';
comment on column postmeter.request_unit.failure_digest is 'And with which digest.';
comment on column postmeter.request_unit.heard_at is 'When something that it said was last recorded.';

create table postmeter.request_heard (
    service text collate "C" not null,
    slot    timestamptz      not null,
    n       bigint           not null,
    primary key (service, slot)
) with (fillfactor=70);
comment on table postmeter.request_heard is
    'How many requests a service was last heard of about, in five minutes: what came due is counted from it.';
comment on column postmeter.request_heard.service is 'The service.';
comment on column postmeter.request_heard.slot is 'Begin of the five minutes, of recording.';
comment on column postmeter.request_heard.n is 'How many.';

create table postmeter.request_awaited (
    request_key text collate "C" not null,
    service     text collate "C" not null,
    until       timestamptz      not null,
    primary key (request_key, service)
) with (fillfactor=80);
create index request_awaited_by_time on postmeter.request_awaited (until);
comment on table postmeter.request_awaited is
    'Services that a route leads a request to, and that have said nothing about it yet. Gone as soon as they '
    'speak.';
comment on column postmeter.request_awaited.request_key is 'See request_status.request_key.';
comment on column postmeter.request_awaited.service is 'Who must speak.';
comment on column postmeter.request_awaited.until is 'Until when; later the request is unfinished.';

create table postmeter.request_refusal (
    hour     timestamptz      not null,
    door     text collate "C" not null check (door in ('http', 'import')),
    field    text collate "C" not null
        check (field in ('', 'service', 'request_id', 'status', 'date', 'source', 'status_msg', 'account', 'org',
            'org_id', 'inventory_id', 'system_id')),
    reason   text collate "C" not null
        check (reason in ('missing', 'length', 'text', 'unreadable', 'range', 'noise', 'nul', 'json', 'utf8', 'object',
            'twice', 'other_org', 'other')),
    n        bigint           not null check (n > 0),
    first_at timestamptz      not null,
    last_at  timestamptz      not null,
    said     text             not null check (octet_length(said) <= 800),
    primary key (hour, door, field, reason)
) with (fillfactor=70);
comment on table postmeter.request_refusal is
    'Request statuses that were refused, counted by hour, door, field and reason: as many rows an hour at most as '
    'these have combinations, whoever sends what. Older ones than setting.tracker_refusals_kept go when others '
    'come.';
comment on column postmeter.request_refusal.hour is 'The hour in which they were refused.';
comment on column postmeter.request_refusal.door is
    'Where they came in: http, or import (a file or a pipe). What postmeter.track refuses is told to its caller '
    'alone: its transaction does not stay.';
comment on column postmeter.request_refusal.field is 'The field that was wrong; empty: the whole message.';
comment on column postmeter.request_refusal.reason is
    'missing, length, text (neither text nor number), unreadable or range (a date), noise (setting.tracker_noise), '
    'nul (U+0000), json, utf8, object (none), twice (a key), other_org (of another than the token''s), other.';
comment on column postmeter.request_refusal.n is 'How many.';
comment on column postmeter.request_refusal.first_at is 'The first of them.';
comment on column postmeter.request_refusal.last_at is 'The last of them.';
comment on column postmeter.request_refusal.said is 'What was said to the last of them, up to 200 characters.';

create table postmeter.request_refused (
    door   text collate "C" not null,
    reason text collate "C" not null,
    n      bigint           not null,
    primary key (door, reason)
) with (fillfactor=50);
comment on table postmeter.request_refused is
    'How many request statuses were ever refused, for the metric; never less than before.';
comment on column postmeter.request_refused.door is 'See request_refusal.door.';
comment on column postmeter.request_refused.reason is 'See request_refusal.reason.';
comment on column postmeter.request_refused.n is 'How many.';
