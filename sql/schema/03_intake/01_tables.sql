-- Usage, its identity, the outbox, and what becomes of an entry that is not counted.

create table postmeter.usage (
    id                 uuid        primary key,
    source             text        not null,
    event_id           text        not null,
    org                text        not null,
    product            text        not null,
    metric             text        not null,
    quantity           numeric     not null
        check ((quantity >= ('-1000000000000'::bigint)::numeric) and (quantity <= ('1000000000000'::bigint)::numeric)),
    used_at            timestamptz not null,
    account            text,
    corrects           text,
    corrected_identity uuid,
    request_id         text,
    traceparent        text,
    attributes         jsonb       not null,
    recorded_at        timestamptz not null default postmeter.clock(),
    corrected_id       uuid,
    constraint usage_check
        check (((corrects is null) = (corrected_identity is null)) and ((quantity >= 0) or (corrects is not null)))
) partition by range (id);
create index usage_corrections on postmeter.usage (corrected_identity) where corrected_identity is not null;
-- squawk-ignore require-concurrent-index-creation
create index usage_request on postmeter.usage (postmeter.request_key_of(request_id)) where request_id is not null;
comment on table postmeter.usage is
    'Every usage ever recorded: immutable facts. Partitioned by id, that is by time of recording.';
comment on column postmeter.usage.id is 'Id given at the first recording.';
comment on column postmeter.usage.source is 'The service that recorded it; with event_id its identity.';
comment on column postmeter.usage.event_id is 'The service''s own id of the event.';
comment on column postmeter.usage.org is 'The customer.';
comment on column postmeter.usage.product is 'The product, by stable tag.';
comment on column postmeter.usage.metric is 'What was metered, by stable tag.';
comment on column postmeter.usage.quantity is
    'An increment in units of the metric, never a running total; negative in a correction.';
comment on column postmeter.usage.used_at is 'When it was used: decides the hour, in UTC.';
comment on column postmeter.usage.account is 'Which marketplace account, where the org has several.';
comment on column postmeter.usage.corrects is 'Event id, of the same source, of the usage that this one corrects.';
comment on column postmeter.usage.corrected_identity is
    'Hash of source and corrects (postmeter.usage_identity_of): finds the corrections of a usage.';
comment on column postmeter.usage.request_id is 'The request that caused it, for tracking.';
comment on column postmeter.usage.traceparent is 'W3C trace context of that request.';
comment on column postmeter.usage.attributes is 'Evidence (service level, region …); never part of a key.';
comment on column postmeter.usage.recorded_at is 'When it was recorded, on postmeter.clock().';
comment on column postmeter.usage.corrected_id is 'The usage that this one corrects.';
create trigger append_only before delete or update or truncate on postmeter.usage
    for each statement execute function postmeter.forbid_change();

create table postmeter.usage_default partition of postmeter.usage default;
comment on table postmeter.usage_default is
    'Usage for which no partition was made in time: no row is ever refused for want of one.';
create trigger append_only before delete or update or truncate on postmeter.usage_default
    for each statement execute function postmeter.forbid_change();

create table postmeter.outbox (
    id          uuid        not null default postmeter.new_id(),
    source      text        not null,
    event_id    text        not null,
    org         text        not null,
    product     text        not null,
    metric      text        not null,
    quantity    numeric     not null,
    used_at     timestamptz not null,
    account     text,
    corrects    text,
    request_id  text,
    traceparent text,
    attributes  jsonb       not null default '{}',
    returned    boolean     not null default false,
    shard       smallint    not null
        generated always as (((hashtextextended(org, (0)::bigint) & (1023)::bigint))::smallint) stored,
    entered_at  timestamptz not null default now()
) partition by range (id);
comment on table postmeter.outbox is
    'Usage that is not accounted for yet: the door. A producer writes this one row; identity and usage are written '
    'by its trigger. Inserted and deleted, never updated.';
comment on column postmeter.outbox.id is 'Id of the usage. Producers have no grant on it.';
comment on column postmeter.outbox.source is 'See usage.source. Up to 255 bytes.';
comment on column postmeter.outbox.event_id is 'See usage.event_id. Up to 255 bytes.';
comment on column postmeter.outbox.org is 'See usage.org. Up to 255 bytes.';
comment on column postmeter.outbox.product is 'See usage.product. Up to 255 bytes.';
comment on column postmeter.outbox.metric is 'See usage.metric. Up to 255 bytes.';
comment on column postmeter.outbox.quantity is 'See usage.quantity. At most 10^12 with at most 15 decimals.';
comment on column postmeter.outbox.used_at is 'See usage.used_at.';
comment on column postmeter.outbox.account is 'See usage.account.';
comment on column postmeter.outbox.corrects is 'See usage.corrects.';
comment on column postmeter.outbox.request_id is 'See usage.request_id.';
comment on column postmeter.outbox.traceparent is 'See usage.traceparent.';
comment on column postmeter.outbox.attributes is 'See usage.attributes. A JSON object of at most 8 KiB.';
comment on column postmeter.outbox.returned is
    'This usage was recorded before and comes back (from held, or from a fold that met a cut hour). Producers have '
    'no grant on it.';
comment on column postmeter.outbox.shard is 'Bucket of the org, so that folds take tenants in turn.';
comment on column postmeter.outbox.entered_at is
    'When it came into the outbox: recorded, or sent back from held. What a fold gives back keeps it. Producers '
    'have no grant on it.';

create table postmeter.outbox_entry partition of postmeter.outbox (
    constraint outbox_pkey primary key (shard, id)
) default with (autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_cost_delay=0);
comment on table postmeter.outbox_entry is
    'The rows of the outbox. What postmeter.record_usage and its kin write here lacks what only postmeter.usage '
    'needs: request, trace and attributes.';
comment on column postmeter.outbox_entry.id is 'Id of the usage. Producers have no grant on it.';
comment on column postmeter.outbox_entry.source is 'See usage.source. Up to 255 bytes.';
comment on column postmeter.outbox_entry.event_id is 'See usage.event_id. Up to 255 bytes.';
comment on column postmeter.outbox_entry.org is 'See usage.org. Up to 255 bytes.';
comment on column postmeter.outbox_entry.product is 'See usage.product. Up to 255 bytes.';
comment on column postmeter.outbox_entry.metric is 'See usage.metric. Up to 255 bytes.';
comment on column postmeter.outbox_entry.quantity is 'See usage.quantity. At most 10^12 with at most 15 decimals.';
comment on column postmeter.outbox_entry.used_at is 'See usage.used_at.';
comment on column postmeter.outbox_entry.account is 'See usage.account.';
comment on column postmeter.outbox_entry.corrects is 'See usage.corrects.';
comment on column postmeter.outbox_entry.request_id is 'See usage.request_id.';
comment on column postmeter.outbox_entry.traceparent is 'See usage.traceparent.';
comment on column postmeter.outbox_entry.attributes is 'See usage.attributes. A JSON object of at most 8 KiB.';
comment on column postmeter.outbox_entry.returned is
    'This usage was recorded before and comes back (from held, or from a fold that met a cut hour). Producers have '
    'no grant on it.';
comment on column postmeter.outbox_entry.shard is 'Bucket of the org, so that folds take tenants in turn.';
comment on column postmeter.outbox_entry.entered_at is
    'When it came into the outbox: recorded, or sent back from held. What a fold gives back keeps it. Producers '
    'have no grant on it.';

create table postmeter.held (
    usage_id       uuid             primary key,
    destination_id integer,
    reason         text             not null
        check (reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
            'too_late', 'month_closed', 'poison', 'by_operator', 'implausible', 'lost_time')),
    org            text             not null,
    product        text collate "C" not null,
    metric         text             not null,
    account        text,
    quantity       numeric          not null,
    hour           timestamptz      not null,
    deadline       timestamptz,
    held_at        timestamptz      not null default postmeter.clock(),
    corrected_id   uuid,
    beyond         text             check (beyond in ('max_quantity', 'times_usual')),
    bound          numeric
);
create index held_by_org on postmeter.held (org, product);
comment on table postmeter.held is
    'Usage that cannot be allocated yet, with the reason. A catalogue change that cures it sends it back to the '
    'outbox.';
comment on column postmeter.held.usage_id is 'The usage.';
comment on column postmeter.held.destination_id is 'Where it would go, if that is known.';
comment on column postmeter.held.reason is
    'Stable code: no_subscription, ambiguous_subscription, unmapped_dimension, invalid_subscription, too_late, '
    'month_closed, poison, by_operator, implausible, lost_time (recorded before commits were lost, and may have '
    'been billed with another hour in that time).';
comment on column postmeter.held.org is 'Its org.';
comment on column postmeter.held.product is 'Its product.';
comment on column postmeter.held.metric is 'Its metric.';
comment on column postmeter.held.account is 'Its account.';
comment on column postmeter.held.quantity is 'Its quantity.';
comment on column postmeter.held.hour is 'Its hour.';
comment on column postmeter.held.deadline is
    'Last moment at which its own hour can be sent; null while no destination is known.';
comment on column postmeter.held.held_at is 'Since when.';
comment on column postmeter.held.corrected_id is
    'The usage that this one corrects; while that is held, this one is returned or given up with it. Null too '
    'where an older program held it.';
comment on column postmeter.held.beyond is
    'Implausible: which limit of its dimension it is beyond, max_quantity or times_usual.';
comment on column postmeter.held.bound is 'Implausible: that limit when it was held, in units of the metric.';

create table postmeter.exempted (
    usage_id     uuid   primary key,
    exemption_id bigint not null
);
create index exempted_by_exemption on postmeter.exempted (exemption_id, usage_id);
comment on table postmeter.exempted is 'Usage of exempt orgs: accounted for, never sent.';
comment on column postmeter.exempted.usage_id is 'The usage.';
comment on column postmeter.exempted.exemption_id is 'The exemption that applies.';

create table postmeter.usage_written_off (
    usage_id    uuid   primary key,
    decision_id bigint not null
);
comment on table postmeter.usage_written_off is 'Held usage that a person gave up.';
comment on column postmeter.usage_written_off.usage_id is 'The usage.';
comment on column postmeter.usage_written_off.decision_id is 'The decision.';

create table postmeter.stray_entry (
    id           bigint      generated always as identity primary key,
    usage_id     uuid        not null,
    reason       text        not null check (reason in ('without_usage', 'other_content', 'accounted_for')),
    entry        jsonb       not null check (jsonb_typeof(entry) = 'object'),
    set_aside_at timestamptz not null default postmeter.clock(),
    decision_id  bigint
);
create index stray_entry_open on postmeter.stray_entry (id) where decision_id is null;
comment on table postmeter.stray_entry is
    'Outbox entries that no usage stands behind: they came around intake''s trigger (replication, a disabled '
    'trigger). Fold sets them aside and bills none. A person resolves them.';
comment on column postmeter.stray_entry.id is 'Order of setting aside.';
comment on column postmeter.stray_entry.usage_id is 'The id that the entry bore.';
comment on column postmeter.stray_entry.reason is
    'without_usage: no usage has its id; other_content: the usage with its id says something else; accounted_for: '
    'that usage is allocated, held, exempt or written off already.';
comment on column postmeter.stray_entry.entry is 'The entry, whole.';
comment on column postmeter.stray_entry.set_aside_at is 'When.';
comment on column postmeter.stray_entry.decision_id is 'The decision that resolved it; null: it is open.';

create table postmeter.cure (
    id        bigint      generated always as identity primary key,
    wanted_at timestamptz not null default clock_timestamp()
);
comment on table postmeter.cure is
    'Changes of the catalogue after which more usage was held than one transaction looks at: maintenance looks at '
    'the rest, in shares, and deletes the row.';
comment on column postmeter.cure.id is 'Number of the mark.';
comment on column postmeter.cure.wanted_at is 'When the catalogue changed; the server''s time.';

-- the usual: rows are only inserted, each larger than what its fold knew of that week, so that no fold waits for
-- another
create table postmeter.usual (
    id      bigint           generated always as identity primary key,
    org     text collate "C" not null,
    product text collate "C" not null,
    metric  text collate "C" not null,
    week    date             not null,
    largest numeric          not null
);
create index usual_by_org on postmeter.usual (org, product, metric, week, largest);
comment on table postmeter.usual is
    'The largest usage that was counted of an org and metric in a week, for metrics with times_usual. The usual is '
    'the largest of this week and the four before, once an earlier one than this is known. Inserted by folds, and '
    'deleted by maintenance when it is old or a larger one of its week is there.';
comment on column postmeter.usual.id is 'Number.';
comment on column postmeter.usual.org is 'The org.';
comment on column postmeter.usual.product is 'Our product.';
comment on column postmeter.usual.metric is 'Our metric.';
comment on column postmeter.usual.week is 'The week in which it was counted, by its Monday (UTC).';
comment on column postmeter.usual.largest is 'Units of the metric.';

create table postmeter.usage_identity (
    source   text collate "C" not null,
    event_id text collate "C" not null,
    usage_id uuid             not null,
    identity uuid,
    primary key (source, event_id)
);
create index usage_identity_corrected on postmeter.usage_identity (identity) where identity is not null;
comment on table postmeter.usage_identity is
    'Which usages were recorded: the younger of two generations of identities, each kept for as long as a usage of '
    'its time could be recorded again.';
comment on column postmeter.usage_identity.source is 'See usage.source.';
comment on column postmeter.usage_identity.event_id is 'See usage.event_id.';
comment on column postmeter.usage_identity.usage_id is 'The usage.';
comment on column postmeter.usage_identity.identity is
    'Of a usage that was corrected, the hash by which programs before 0057 find it (postmeter.usage_identity_of).';

create table postmeter.usage_identity_before (
    source   text collate "C" not null,
    event_id text collate "C" not null,
    usage_id uuid             not null,
    primary key (source, event_id)
);
comment on table postmeter.usage_identity_before is
    'The older generation of identities: nothing is added to it, and it is dropped as a whole.';
comment on column postmeter.usage_identity_before.source is 'See usage_identity.source.';
comment on column postmeter.usage_identity_before.event_id is 'See usage_identity.event_id.';
comment on column postmeter.usage_identity_before.usage_id is 'The usage.';

create table postmeter.identity_generation (
    began_at timestamptz not null
);
comment on table postmeter.identity_generation is
    'When the younger generation of identities began: one row. It is truncated and written anew at each turn, so '
    'that a transaction whose snapshot is older sees none; it must not record, for it cannot see what was recorded '
    'since.';
comment on column postmeter.identity_generation.began_at is 'When usage_identity began, on postmeter.clock().';

-- An id is as old as its recording, and no usage is recorded before it is used by more than the lead, or after it by
-- more than
-- the age: ids bound what a range of times has to read. Where the clock may move, they tell nothing.
create function postmeter.usage_id_from(recorded_from timestamptz) returns uuid
language sql stable set search_path = pg_catalog, pg_temp
return (select case when s.purpose = 'production' and isfinite(recorded_from)
                    then postmeter.id_at(greatest(recorded_from - interval '1 hour', 'epoch'))
                    else '00000000-0000-0000-0000-000000000000' end
        from postmeter.setting s);
comment on function postmeter.usage_id_from(timestamptz) is
    'No usage that was recorded at or after this moment has a smaller id.';

create function postmeter.usage_id_until(recorded_until timestamptz) returns uuid
language sql stable set search_path = pg_catalog, pg_temp
return (select case when s.purpose = 'production' and isfinite(recorded_until)
                    then postmeter.id_at(greatest(recorded_until + interval '1 hour', 'epoch'))
                    else 'ffffffff-ffff-ffff-ffff-ffffffffffff' end
        from postmeter.setting s);
comment on function postmeter.usage_id_until(timestamptz) is
    'Every usage that was recorded before this moment has a smaller id.';

create function postmeter.usage_id_used_from(used_from timestamptz) returns uuid
language sql stable set search_path = pg_catalog, pg_temp
return (select postmeter.usage_id_from(used_from - greatest(s.usage_lead_max, interval '1 day'))
    from postmeter.setting s);
comment on function postmeter.usage_id_used_from(timestamptz) is
    'No usage that was used at or after this moment has a smaller id.';
