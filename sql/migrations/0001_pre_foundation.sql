-- 0001_pre_foundation: the schema, its settings, its clock, its ids, and what identifies a usage.
-- programs: from 0001
-- lock: none

create schema postmeter;
comment on schema postmeter is 'Postmeter: metered usage, the remittances made of it, and the ledger of every attempt to send them.';

create table postmeter.migration (
    version    integer not null primary key,
    name       text    not null unique,
    checksum   text,
    programs_from integer,
    applied_at timestamptz not null default clock_timestamp()
);
comment on table postmeter.migration is 'Migrations that were applied, by `postmeter migrate` or by psql.';
comment on column postmeter.migration.version is 'Number of the file.';
comment on column postmeter.migration.name is 'Its name.';
comment on column postmeter.migration.checksum is 'SHA-256 of the file; null if psql applied it.';
comment on column postmeter.migration.programs_from is 'Programs whose newest migration is this number or a later one work on the schema with this migration; older ones refuse to start. Null (psql applied it): only programs that know it.';
comment on column postmeter.migration.applied_at is 'When.';

create table postmeter.setting (
    only_row     boolean     not null default true primary key check (only_row),
    purpose      text        not null default 'production' check (purpose in ('production', 'test', 'demo')),
    clock_shift  interval    not null default '0',
    clock_frozen timestamptz,
    usage_age_max  interval  not null default '400 days' check (usage_age_max > '0'),
    usage_lead_max interval  not null default '1 hour' check (usage_lead_max >= '0'),
    unresolved   text        not null default 'hold' check (unresolved in ('hold', 'refuse')),
    constraint clock_moves_only_outside_production
        check (purpose <> 'production' or (clock_shift = '0' and clock_frozen is null))
);
insert into postmeter.setting default values;
comment on table postmeter.setting is 'The one row of settings that every statement obeys. Changed by the migrator; test and demo may move the clock.';
comment on column postmeter.setting.only_row is 'Always true: there is one row.';
comment on column postmeter.setting.purpose is 'production, test or demo. Outside production the clock may move, and workers call loopback addresses only.';
comment on column postmeter.setting.clock_shift is 'Added to the server''s time by postmeter.clock().';
comment on column postmeter.setting.clock_frozen is 'If set, postmeter.clock() stands still here.';
comment on column postmeter.setting.usage_age_max is 'Usage older than this is refused (PM005). Identities are kept at least as long.';
comment on column postmeter.setting.usage_lead_max is 'Usage further ahead than this is refused (PM006).';
comment on column postmeter.setting.unresolved is 'Usage that the catalogue does not resolve: hold it by name, or refuse it (PM007).';

create function postmeter.clock() returns timestamptz
language sql stable parallel safe security definer
as $$ select coalesce(clock_frozen, clock_timestamp() + clock_shift) from postmeter.setting $$;
comment on function postmeter.clock() is 'The time of every decision. The server''s clock, which a test or demo database may shift or freeze. Leases do not use it.';

create function postmeter.new_id() returns uuid
language sql volatile parallel safe
as $$
    -- 48 bits of milliseconds, then version and variant over a random UUID (RFC 9562, version 7)
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                    from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;
comment on function postmeter.new_id() is 'A UUIDv7 from the server''s clock: ids of usage and attempts, ordered by time to the millisecond, so that partitions by id are partitions by time.';

create function postmeter.id_at(moment timestamptz) returns uuid
language sql stable parallel safe
as $$
    select encode(
        overlay('\x00000000000070008000000000000000'::bytea
                placing substring(int8send(floor(extract(epoch from moment) * 1000)::bigint) from 3) from 1 for 6),
        'hex')::uuid
$$;
comment on function postmeter.id_at(timestamptz) is 'The smallest id that new_id() can make at this moment: the bound of a partition.';

create function postmeter.usage_identity_of(source text, event_id text) returns uuid
language sql stable parallel safe
as $$ select encode(substring(sha256(convert_to(length(source) || ':' || source || event_id, 'UTF8')) from 1 for 16), 'hex')::uuid $$;
comment on function postmeter.usage_identity_of(text, text) is 'The identity of a usage: 16 bytes of SHA-256 over source and event id.';

create function postmeter.usage_content_of(
    org text, product text, metric text, quantity numeric, used_at timestamptz, account text, corrects text
) returns uuid
language sql stable parallel safe
as $$
    select encode(substring(sha256(convert_to(
        length(org) || ':' || org || length(product) || ':' || product || length(metric) || ':' || metric
        || trim_scale(quantity)::text || '@' || extract(epoch from used_at)::text
        || coalesce('#' || length(account) || ':' || account, '') || coalesce('~' || corrects, ''), 'UTF8'))
        from 1 for 16), 'hex')::uuid
$$;
comment on function postmeter.usage_content_of(text, text, text, numeric, timestamptz, text, text) is
    'What must be equal for a repeated identity to be the same usage: quantity by value, time as an instant; labels do not count.';

create function postmeter.hour_of(moment timestamptz) returns timestamptz
language sql immutable parallel safe
as $$ select date_bin('1 hour', moment, '2000-01-01 00:00:00+00'::timestamptz) $$;
comment on function postmeter.hour_of(timestamptz) is 'Start of the hour in UTC, whatever the session''s time zone.';

create function postmeter.month_of(hour timestamptz, zone text) returns date
language sql stable parallel safe
as $$ select date_trunc('month', hour at time zone zone)::date $$;
comment on function postmeter.month_of(timestamptz, text) is 'First day of the billing month that this hour belongs to, in the destination''s zone.';

create function postmeter.forbid_change() returns trigger
language plpgsql
as $$
begin
    raise exception '%.% is append-only: rows are never changed or deleted', tg_table_schema, tg_table_name
        using errcode = 'PM020', schema = tg_table_schema, table = tg_table_name,
              hint = 'Record a decision instead; retention drops whole partitions.';
end
$$;
comment on function postmeter.forbid_change() is 'Trigger of the append-only tables: refuses UPDATE, DELETE and TRUNCATE for everyone, the owner included (PM020).';

create aggregate postmeter.lcm_of(bigint) (sfunc = pg_catalog.lcm, stype = bigint, initcond = '1');
comment on aggregate postmeter.lcm_of(bigint) is 'Least common multiple: the common denominator of a meter''s factors.';

insert into postmeter.migration (version, name) values (1, '0001_pre_foundation');
