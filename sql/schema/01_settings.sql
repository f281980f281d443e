-- Settings, the clock, ids, gates, and small words that all topics use.

-- functions may name what a later file makes; the last file sets it back
set check_function_bodies = off;

create schema postmeter;
comment on schema postmeter is
    'Postmeter: metered usage, the remittances made of it, and the ledger of every attempt to send them.';

create table postmeter.migration (
    version       integer          primary key,
    name          text collate "C" not null unique,
    checksum      text,
    programs_from integer,
    applied_at    timestamptz      not null default clock_timestamp()
);
comment on table postmeter.migration is 'Migrations that were applied, by `postmeter migrate` or by psql.';
comment on column postmeter.migration.version is 'Number of the file.';
comment on column postmeter.migration.name is 'Its name.';
comment on column postmeter.migration.checksum is 'SHA-256 of the file; null if psql applied it.';
comment on column postmeter.migration.programs_from is
    'Programs whose newest migration is this number or a later one work on the schema with this migration; older '
    'ones refuse to start. Null (psql applied it): only programs that know it.';
comment on column postmeter.migration.applied_at is 'When.';

create table postmeter.setting (
    only_row                 boolean     default true primary key check (only_row),
    purpose                  text        not null default 'production'
        check (purpose in ('production', 'test', 'demo')),
    clock_shift              interval    not null default '00:00:00',
    clock_frozen             timestamptz,
    usage_age_max            interval    not null default '45 days' check (usage_age_max > '00:00:00'),
    usage_lead_max           interval    not null default '01:00:00' check (usage_lead_max >= '00:00:00'),
    unresolved               text        not null default 'hold' check (unresolved in ('hold', 'refuse')),
    tracker_retention        interval    not null default '30 days' check (tracker_retention >= '1 day'),
    tracker_unfinished_after interval    not null default '01:00:00' check (tracker_unfinished_after >= '00:00:00'),
    tracker_success          text[]      not null default '{success,succeeded,completed,finished,done}'::text[],
    tracker_failure          text[]      not null default '{error,failed,failure}'::text[],
    ledger_retention         interval,
    workers_expected         integer     check (workers_expected >= 0),
    consoles_expected        integer     check (consoles_expected >= 0),
    identities_from          timestamptz not null default '-infinity',
    tracker_lead_max         interval    not null default '01:00:00'
        check (tracker_lead_max >= '00:00:00' and tracker_lead_max <= '1 year'),
    tracker_begun            text[]      not null default '{received,processing,started,running,retrying}'::text[],
    tracker_alert_share      numeric     not null default 0.1
        check (tracker_alert_share >= 0 and tracker_alert_share <= 1),
    tracker_alert_requests   integer     not null default 10 check (tracker_alert_requests > 0),
    tracker_alert_age        interval    not null default '1 day' check (tracker_alert_age >= '00:00:00'),
    tracker_noise            text[]      not null default array['-1', 'None', 'null'],
    tracker_refusals_kept    interval    not null default '30 days' check (tracker_refusals_kept >= '01:00:00'),
    constraint clock_moves_only_outside_production
        check (purpose <> 'production' or (clock_shift = '00:00:00' and clock_frozen is null)),
    constraint ledger_outlives_intake check (ledger_retention >= usage_age_max),
    constraint setting_usage_lead_bound check (usage_lead_max <= '1 day')
);
comment on table postmeter.setting is
    'The one row of settings that every statement obeys. Changed by the migrator; test and demo may move the '
    'clock.';
comment on column postmeter.setting.only_row is 'Always true: there is one row.';
comment on column postmeter.setting.purpose is
    'production, test or demo. Outside production the clock may move, and workers call loopback addresses only.';
comment on column postmeter.setting.clock_shift is 'Added to the server''s time by postmeter.clock().';
comment on column postmeter.setting.clock_frozen is 'If set, postmeter.clock() stands still here.';
comment on column postmeter.setting.usage_age_max is
    'Usage older than this is refused (PM005). Identities are kept at least as long, and about twice as long at '
    'most.';
comment on column postmeter.setting.usage_lead_max is
    'Usage further ahead than this is refused (PM006). A day at most.';
comment on column postmeter.setting.unresolved is
    'Usage that the catalogue does not resolve: hold it by name, or refuse it (PM007).';
comment on column postmeter.setting.tracker_retention is 'Request statuses older than this are dropped, by the day.';
comment on column postmeter.setting.tracker_unfinished_after is
    'An open request without a new status for this long is in unfinished_request.';
comment on column postmeter.setting.tracker_success is
    'Statuses, in lower case, with which a service has finished well.';
comment on column postmeter.setting.tracker_failure is 'Statuses, in lower case, with which a service has failed.';
comment on column postmeter.setting.ledger_retention is
    'Months of the ledger that ended longer ago than this may be dropped, once they are finished and exported. '
    'Null: everything is kept. Never shorter than usage_age_max.';
comment on column postmeter.setting.workers_expected is
    'Workers that should live at any time; fewer is an alert (fleet_incomplete). Null: as many as lived when one '
    'was lost without stopping in order, within a week.';
comment on column postmeter.setting.consoles_expected is 'The same of consoles.';
comment on column postmeter.setting.identities_from is
    'Usage of before this is refused (PM005), whatever usage_age_max says: identities of that age were forgotten, '
    'or their month was dropped. Only turns of the generations and dropped months move it.';
comment on column postmeter.setting.tracker_lead_max is
    'A request status that is dated further ahead of its recording than this is ordered, and retires, by its '
    'recording.';
comment on column postmeter.setting.tracker_begun is
    'Statuses, in lower case, with which a service begins: after a success one of them opens the service again. '
    'Any other word opens only what has not finished.';
comment on column postmeter.setting.tracker_alert_share is
    'A service is silent if more than this share of its requests that came due in the last hour is unfinished '
    'there.';
comment on column postmeter.setting.tracker_alert_requests is
    'And if at least so many came due: a share of a few says nothing.';
comment on column postmeter.setting.tracker_alert_age is
    'A service is silent, too, if a request has been unfinished there for longer than this, however many came due.';
comment on column postmeter.setting.tracker_noise is
    'Request ids that name no request: what programs write where they have none. A status with one of these is '
    'refused.';
comment on column postmeter.setting.tracker_refusals_kept is 'Refusals of request statuses are listed for so long.';

create function postmeter.clock() returns timestamptz
language sql stable parallel safe security definer
begin atomic
select coalesce(clock_frozen, clock_timestamp() + clock_shift) from postmeter.setting;
end;
comment on function postmeter.clock() is
    'The time of every decision. The server''s clock, which a test or demo database may shift or freeze. Leases do '
    'not use it.';

create function postmeter.server_identity() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    database text := (select d.oid::text from pg_database d where d.datname = current_database());
begin
    -- a managed server may keep it to itself: then only the database's number tells
    if has_function_privilege('pg_catalog.pg_control_system()', 'execute') then
        return (select s.system_identifier::text from pg_control_system() s) || '/' || database;
    end if;
    return '-/' || database;
end
$$;
comment on function postmeter.server_identity() is
    'The server''s system identifier and the database''s number: a standby has both, a restored or copied database '
    'never has. Where the server does not tell its identifier, a dash stands for it.';

create table postmeter.timeline_break (
    id                bigint           generated always as identity primary key,
    noticed_at        timestamptz      not null default postmeter.clock(),
    who               text             not null check (who <> ''),
    why               text             not null check (why <> ''),
    timeline          text collate "C" not null,
    server_started_at timestamptz      not null,
    server            text collate "C" not null default postmeter.server_identity(),
    constraint timeline_break_is_one unique (server, timeline, server_started_at)
);
comment on table postmeter.timeline_break is
    'Moments since which the database lacks commits that it once had. Every remittance whose hour was over by then '
    'counts as possibly attempted (maybe_billed; what is cut later, at its cut): a duplicate is ours, and a '
    'refusal proves nothing.';
comment on column postmeter.timeline_break.id is 'Number of the break.';
comment on column postmeter.timeline_break.noticed_at is 'When it was noticed, on postmeter.clock().';
comment on column postmeter.timeline_break.who is 'The worker or the person who noticed.';
comment on column postmeter.timeline_break.why is 'What they saw.';
comment on column postmeter.timeline_break.timeline is 'The server''s timeline now.';
comment on column postmeter.timeline_break.server_started_at is
    'When this server started: with server and timeline, what many workers notice at once is one break.';
comment on column postmeter.timeline_break.server is
    'On which server and in which of its databases (server_identity): a dump that is restored elsewhere brings the '
    'losses of before along, and is a loss of its own.';

create table postmeter.gate (
    name text collate "C" primary key check ((octet_length(name) >= 1) and (octet_length(name) <= 100))
);
comment on table postmeter.gate is
    'Rows to lock: whoever holds one does what it names, alone. Nobody has a grant on them but the owner, through '
    'take_gate and try_gate.';
comment on column postmeter.gate.name is 'What is done by one at a time.';

create function postmeter.new_id() returns uuid
language sql parallel safe
begin atomic
-- RFC 9562: milliseconds, version 7, the fraction of the millisecond in 12 bits, variant, 62 bits of one random draw
    select (overlay(lpad(to_hex((date_part('epoch', clock_timestamp()) * 4096000)::bigint), 15, '0') placing '7'
        from 13 for 0)
            || to_hex((random() * 4611686018427387000)::bigint | '-9223372036854775808'::bigint))::uuid;
end;
comment on function postmeter.new_id() is
    'A UUIDv7 from the server''s clock: ids of usage and attempts, ordered by time to a quarter of a microsecond, '
    'so that partitions by id are partitions by time.';

create function postmeter.id_at(moment timestamptz) returns uuid
language sql stable parallel safe
begin atomic
select encode(
        overlay('\x00000000000070008000000000000000'::bytea
                placing substring(int8send(floor(extract(epoch from moment) * 1000)::bigint) from 3) from 1 for 6),
        'hex')::uuid;
end;
comment on function postmeter.id_at(timestamptz) is
    'The smallest id that new_id() can make at this moment: the bound of a partition.';

create function postmeter.usage_identity_of(source text, event_id text) returns uuid
language sql stable parallel safe
begin atomic
select encode(substring(sha256(convert_to(
        length(source) || ':' || source || event_id, 'UTF8')) from 1 for 16), 'hex')::uuid;
end;
comment on function postmeter.usage_identity_of(text, text) is
    'The identity of a usage: 16 bytes of SHA-256 over source and event id.';

create function postmeter.hour_of(moment timestamptz) returns timestamptz
language sql immutable parallel safe
begin atomic
select date_bin('1 hour', moment, '2000-01-01 00:00:00+00'::timestamptz);
end;
comment on function postmeter.hour_of(timestamptz) is 'Start of the hour in UTC, whatever the session''s time zone.';

create function postmeter.month_of(hour timestamptz, zone text) returns date
language sql stable parallel safe
begin atomic
select date_trunc('month', hour at time zone zone)::date;
end;
comment on function postmeter.month_of(timestamptz, text) is
    'First day of the billing month that this hour belongs to, in the destination''s zone.';

create function postmeter.forbid_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception '%.% is append-only: rows are never changed or deleted', tg_table_schema, tg_table_name
        using errcode = 'PM020', schema = tg_table_schema, table = tg_table_name,
              hint = 'Record a decision instead; retention drops whole partitions.';
end
$$;
comment on function postmeter.forbid_change() is
    'Trigger of the append-only tables: refuses UPDATE, DELETE and TRUNCATE for everyone, the owner included '
    '(PM020).';

create function postmeter.request_key_of(request_id text) returns text
language sql immutable parallel safe
begin atomic
select case when request_id ~ '^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$'
                then translate(request_id, 'ABCDEF-', 'abcdef') else request_id end;
end;
comment on function postmeter.request_key_of(text) is
    'What makes two request ids the same request: a UUID in any form is its 32 digits in lower case; any other '
    'text is itself.';

create function postmeter.moment_of(id uuid) returns timestamptz
language sql stable parallel safe
begin atomic
select to_timestamp(('x' || lpad(substr(replace(id::text, '-', ''), 1, 12), 16, '0'))::bit(64)::bigint / 1000.0);
end;
comment on function postmeter.moment_of(uuid) is 'When new_id() made this id, to the millisecond.';

create function postmeter.chain_step(head bytea, line text) returns bytea
language sql immutable strict parallel safe
begin atomic
select sha256(head || convert_to(line, 'UTF8'));
end;
comment on function postmeter.chain_step(bytea, text) is
    'The next link of a hash chain: SHA-256 of the one before and the line.';

create aggregate postmeter.chain_of(text) (sfunc = postmeter.chain_step, stype = bytea,
    initcond = '\x0000000000000000000000000000000000000000000000000000000000000000');
comment on aggregate postmeter.chain_of(text) is
    'Head of the hash chain over lines, in their order; it begins with 32 zero bytes.';

create function postmeter.counted(n bigint, thing text) returns text
language sql immutable parallel safe
begin atomic
select to_char(n, 'FM999,999,999,999,990') || ' ' || thing || case when n = 1 then '' else 's' end;
end;
comment on function postmeter.counted(bigint, text) is
    'A number of things as people say it: 1 remittance, 10,000 remittances.';

create function postmeter.take_gate(gate text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from postmeter.gate g where g.name = gate for update;
    if not found then
        insert into postmeter.gate (name) values (gate) on conflict do nothing;
        perform from postmeter.gate g where g.name = gate for update;
    end if;
end
$$;
comment on function postmeter.take_gate(text) is
    'Waits until nobody else does what the gate names, and keeps others from it until the transaction ends.';

create function postmeter.try_gate(gate text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from postmeter.gate g where g.name = gate for update skip locked;
    return found;
end
$$;
comment on function postmeter.try_gate(text) is
    'As take_gate, but false at once if somebody else holds it. For gates that the schema brings along.';

create function postmeter.catalogue_gate() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform postmeter.take_gate('catalogue');
end
$$;
comment on function postmeter.catalogue_gate() is 'One edit of the catalogue at a time, until the transaction ends.';

-- The common denominator of three factors with nine digits each has more digits than a bigint. A numeric holds those of
-- ten thousand such factors; an integer quotient of numerics is exact.
create aggregate postmeter.lcm_of(numeric) (sfunc = pg_catalog.lcm, stype = numeric, initcond = '1');
comment on aggregate postmeter.lcm_of(numeric) is
    'Least common multiple: the common denominator of a meter''s factors.';

create function postmeter.this_week() returns date
language sql stable
begin atomic
select date_trunc('week', postmeter.clock() at time zone 'UTC')::date;
end;
comment on function postmeter.this_week() is 'Monday of the running week, UTC.';

create function postmeter.when_said(moment timestamptz) returns text
language sql stable parallel safe
begin atomic
select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
end;
comment on function postmeter.when_said(timestamptz) is 'A time as people read it, in UTC, to the second.';

create function postmeter.broken_at() returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select max(b.noticed_at) from postmeter.timeline_break b$$;
comment on function postmeter.broken_at() is 'When it was noticed last that commits were lost; null: never.';
