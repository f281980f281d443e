-- 0004_pre_ledger: meters, deliveries, and every attempt to send them.
-- programs: from 0004
-- lock: none

create table postmeter.meter (
    id             bigint  generated always as identity primary key,
    destination_id integer not null,
    buyer          text    not null,
    dimension      text    not null,
    month          date    not null,
    rounding       text    not null,
    decimals       integer not null,
    month_end      text    not null,
    billed         numeric not null default 0,
    carried        numeric not null default 0,
    billable       numeric not null default 0 check (billable >= 0),
    denominator    numeric not null default 1,
    cuts           integer not null default 0,
    unique (destination_id, buyer, dimension, month)
);
create index meter_billable on postmeter.meter (id) where billable > 0;
create index meter_month on postmeter.meter (month, destination_id);
comment on table postmeter.meter is 'A key without its hour over a billing month: what rounding, cover and carry are counted on. Written once per cut; locked before its remittances.';
comment on column postmeter.meter.id is 'Number of the meter.';
comment on column postmeter.meter.destination_id is 'The destination.';
comment on column postmeter.meter.buyer is 'The buyer in canonical text; a renewed subscription or changed plan continues the meter.';
comment on column postmeter.meter.dimension is 'The marketplace''s name of the dimension.';
comment on column postmeter.meter.month is 'First day of the billing month, in the destination''s zone.';
comment on column postmeter.meter.rounding is 'Rounding of the dimension in this month.';
comment on column postmeter.meter.decimals is 'Decimals of the dimension in this month.';
comment on column postmeter.meter.month_end is 'What the month''s last cut does with a remainder.';
comment on column postmeter.meter.billed is 'Billing units of all its cut remittances that no decision has released, whatever became of them.';
comment on column postmeter.meter.carried is 'Billing units x common denominator: used beyond cover and not billed yet (a remainder), or billed ahead (negative: credit).';
comment on column postmeter.meter.billable is 'Billing units that a cut would bill now: more than zero after a release or a deferral; maintenance opens an hour for it.';
comment on column postmeter.meter.denominator is 'Common denominator of the factors when carried was written.';
comment on column postmeter.meter.cuts is 'How often it was cut.';

create table postmeter.meter_metric (
    id        bigint  generated always as identity primary key,
    meter_id  bigint  not null,
    product   text    not null,
    metric    text    not null,
    factor_numerator   bigint not null,
    factor_denominator bigint not null,
    used      numeric not null default 0,
    covered   numeric not null default 0,
    unique (meter_id, product, metric)
);
comment on table postmeter.meter_metric is 'The metrics counted on a meter, each with its factor of that month and its totals.';
comment on column postmeter.meter_metric.id is 'Number; what allocations point to.';
comment on column postmeter.meter_metric.meter_id is 'The meter.';
comment on column postmeter.meter_metric.product is 'Our product.';
comment on column postmeter.meter_metric.metric is 'Our metric.';
comment on column postmeter.meter_metric.factor_numerator is 'Billing units per metric unit: numerator.';
comment on column postmeter.meter_metric.factor_denominator is 'Billing units per metric unit: denominator.';
comment on column postmeter.meter_metric.used is 'Metric units of all hours cut so far this month.';
comment on column postmeter.meter_metric.covered is 'Of these, covered by contract: lowered or ended cover acts on later usage only.';

create table postmeter.delivery (
    id              bigint  generated always as identity primary key,
    destination_id  integer not null,
    kind            text    not null default 'usage' check (kind in ('usage')),
    key             text    not null,
    meter_id        bigint,
    hour            timestamptz,
    identity        jsonb,
    product         text,
    status          text    not null default 'open' check (status in ('open', 'nothing_due', 'due', 'in_flight', 'accepted', 'rejected',
                                'expired', 'conflict', 'unknown', 'held', 'dry_run', 'written_off', 'released')),
    reason          text    check (reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
                                'too_late', 'month_closed', 'quantity_out_of_range', 'unrecognised_answer', 'tries_exhausted', 'poison', 'by_operator')),
    maybe_billed    boolean not null default false,
    maybe_since     timestamptz,
    confirmed       boolean,
    deadline        timestamptz not null,
    round           integer not null default 0,
    releases        integer not null default 0,
    quantity        numeric check (quantity >= 0),
    body            text    check (octet_length(body) <= 65536),
    batch_group     text,
    idempotency_key uuid,
    batch_limit     integer check (batch_limit >= 1),
    tries           integer not null default 0,
    attempts        integer not null default 0,
    deaths          integer not null default 0,
    attempt_id      uuid,
    evidence_read   bigint  not null default 0,
    shown_quantity  numeric,
    shadow          boolean not null default false,
    opened_at       timestamptz not null default postmeter.clock(),
    cut_at          timestamptz,
    changed_at      timestamptz not null default postmeter.clock(),
    unique (destination_id, key),
    unique (meter_id, hour),
    constraint delivery_usage check (kind <> 'usage' or (meter_id is not null and hour is not null and identity is not null and product is not null)),
    constraint delivery_in_flight check ((status = 'in_flight') = (attempt_id is not null)),
    constraint delivery_frozen check (status in ('open', 'nothing_due', 'held')
        or (quantity is not null and body is not null and idempotency_key is not null and batch_group is not null and cut_at is not null)),
    constraint delivery_open check (status <> 'open' or (quantity is null and body is null and not maybe_billed)),
    constraint delivery_held check ((status = 'held') = (reason is not null)),
    constraint delivery_maybe check (maybe_billed = (maybe_since is not null)),
    constraint delivery_evidence check (not maybe_billed or status in ('due', 'in_flight', 'unknown', 'held')),
    constraint delivery_unknown check (status <> 'unknown' or maybe_billed),
    constraint delivery_shadow check (not shadow or (not maybe_billed and confirmed is null and shown_quantity is null
        and status in ('open', 'nothing_due', 'due', 'in_flight', 'dry_run', 'expired', 'held', 'released', 'written_off')))
) with (fillfactor = 34, autovacuum_vacuum_scale_factor = 0.05); -- cut, claim and settle each leave a version: all three
-- fit into the row's page (HOT) even while somebody's snapshot keeps the old ones, and no index is written again
create index delivery_suspects on postmeter.delivery (id) where deaths > 0;
comment on table postmeter.delivery is 'Something owed to a destination; of kind usage it is a remittance: one per key. Touched a few times in its life; nothing claims from it.';
comment on column postmeter.delivery.id is 'Number of the delivery.';
comment on column postmeter.delivery.destination_id is 'Where it is owed.';
comment on column postmeter.delivery.kind is 'usage: a remittance.';
comment on column postmeter.delivery.key is 'What the marketplace deduplicates on, as canonical text.';
comment on column postmeter.delivery.meter_id is 'The meter of its own hour.';
comment on column postmeter.delivery.hour is 'The hour it reports, UTC.';
comment on column postmeter.delivery.identity is 'The buyer''s identity as it is sent; fixed when the hour is opened.';
comment on column postmeter.delivery.product is 'Our product.';
comment on column postmeter.delivery.status is 'Where it stands; docs/states.md is the chart.';
comment on column postmeter.delivery.reason is 'Why it is held: a stable code.';
comment on column postmeter.delivery.maybe_billed is 'An attempt may have arrived and nothing has resolved it: only evidence or a person moves it.';
comment on column postmeter.delivery.maybe_since is 'When the earliest such attempt was made.';
comment on column postmeter.delivery.confirmed is 'Accepted: whether they confirmed the quantity (a bare duplicate does not).';
comment on column postmeter.delivery.deadline is 'Last moment at which it may be sent, margin taken off.';
comment on column postmeter.delivery.round is 'How often its hour was cut; allocations of an older round are counted already.';
comment on column postmeter.delivery.releases is 'How often a decision released this key; part of the idempotency key.';
comment on column postmeter.delivery.quantity is 'Billing units to send; frozen by the cut.';
comment on column postmeter.delivery.body is 'The record to send, to the letter; frozen by the cut.';
comment on column postmeter.delivery.batch_group is 'Only deliveries of one group share a call.';
comment on column postmeter.delivery.idempotency_key is 'UUIDv5 of destination, key and releases.';
comment on column postmeter.delivery.batch_limit is 'At most so many in its next call, while a refused batch is being halved.';
comment on column postmeter.delivery.tries is 'Attempts that count against the retry policy.';
comment on column postmeter.delivery.attempts is 'All attempts.';
comment on column postmeter.delivery.deaths is 'Workers that died while it was in their hands, since the last answer. From the first on it is claimed alone.';
comment on column postmeter.delivery.attempt_id is 'The open attempt.';
comment on column postmeter.delivery.evidence_read is 'Last late evidence that was considered.';
comment on column postmeter.delivery.shown_quantity is 'What the marketplace showed that it holds, if it did.';
comment on column postmeter.delivery.shadow is 'Its destination is a shadow: it is never sent, and nothing can say that it was.';
comment on column postmeter.delivery.opened_at is 'When its hour was opened (again).';
comment on column postmeter.delivery.cut_at is 'When its hour was cut last.';
comment on column postmeter.delivery.changed_at is 'When its status last changed.';

create table postmeter.allocation (
    usage_id        uuid    not null,
    destination_id  integer not null,
    delivery_id     bigint  not null,
    meter_metric_id bigint  not null,
    round           integer not null,
    quantity        numeric not null,
    hour            timestamptz not null,
    subscription_id bigint  not null,
    primary key (usage_id, destination_id)
) partition by range (usage_id);
create table postmeter.allocation_default partition of postmeter.allocation default;
create index allocation_by_delivery on postmeter.allocation (delivery_id);
-- "what did this org use this month": written by fold, so that no producer pays for it
create index allocation_by_subscription on postmeter.allocation (subscription_id, hour);
comment on table postmeter.allocation is 'Which remittance counted a usage, per destination, for ever. Written by fold only.';
comment on table postmeter.allocation_default is 'Allocations for which no partition was made in time.';
comment on column postmeter.allocation.usage_id is 'The usage.';
comment on column postmeter.allocation.destination_id is 'The destination.';
comment on column postmeter.allocation.delivery_id is 'The remittance whose cut counts it.';
comment on column postmeter.allocation.meter_metric_id is 'The meter and metric it is counted on.';
comment on column postmeter.allocation.round is 'The remittance''s round at the time: the next cut counts it.';
comment on column postmeter.allocation.quantity is 'Its quantity in units of the metric.';
comment on column postmeter.allocation.hour is 'Its own hour; another than the remittance''s for late usage.';
comment on column postmeter.allocation.subscription_id is 'The subscription that matched.';
create trigger append_only before update or delete or truncate on postmeter.allocation
    for each statement execute function postmeter.forbid_change();
create trigger append_only before update or delete or truncate on postmeter.allocation_default
    for each statement execute function postmeter.forbid_change();

create table postmeter.cut (
    delivery_id  bigint  not null,
    meter_id     bigint  not null,
    round        integer not null,
    denominator  numeric not null,
    units        numeric not null,
    billed_before numeric not null,
    to_bill      numeric not null,
    carried      numeric not null,
    deferred     boolean not null,
    metrics      jsonb   not null,
    cut_at       timestamptz not null default postmeter.clock(),
    primary key (delivery_id, meter_id, round)
);
create index cut_by_meter on postmeter.cut (meter_id);
comment on table postmeter.cut is 'The arithmetic of every cut, per meter counted in it, as it was. Append-only.';
comment on column postmeter.cut.delivery_id is 'The remittance.';
comment on column postmeter.cut.meter_id is 'The meter: its own, or an earlier month''s for a part.';
comment on column postmeter.cut.round is 'Which cut of this remittance.';
comment on column postmeter.cut.denominator is 'Common denominator D of the meter''s factors.';
comment on column postmeter.cut.units is 'Sum over the metrics of (used - covered) x factor x D, after this cut.';
comment on column postmeter.cut.billed_before is 'Billing units billed on this meter before.';
comment on column postmeter.cut.to_bill is 'Billing units that this cut adds: max(0, R(units / D) - billed before).';
comment on column postmeter.cut.carried is 'units - (billed before + to bill) x D: a remainder, or credit if negative.';
comment on column postmeter.cut.deferred is 'The hour could no longer be sent in time: everything is carried to another hour of the month.';
comment on column postmeter.cut.metrics is 'Per metric: used before, used here, cover, covered, factor.';
comment on column postmeter.cut.cut_at is 'When.';
create trigger append_only before update or delete or truncate on postmeter.cut
    for each statement execute function postmeter.forbid_change();

create table postmeter.open_hour (
    delivery_id    bigint not null primary key,
    destination_id integer not null,
    hour           timestamptz not null
);
create index open_hour_by_hour on postmeter.open_hour (hour, delivery_id);
comment on table postmeter.open_hour is 'Remittances that are open, for the cut to find. Inserted and deleted, never updated.';
comment on column postmeter.open_hour.delivery_id is 'The remittance.';
comment on column postmeter.open_hour.destination_id is 'Its destination.';
comment on column postmeter.open_hour.hour is 'Its hour.';

create table postmeter.due (
    delivery_id    bigint not null,
    destination_id integer not null,
    deadline       timestamptz not null,
    primary key (destination_id, delivery_id)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index due_by_deadline on postmeter.due (destination_id, deadline, delivery_id);
comment on table postmeter.due is 'Deliveries to send now; the queue that workers claim from. Inserted and deleted, never updated.';
comment on column postmeter.due.delivery_id is 'The delivery.';
comment on column postmeter.due.destination_id is 'Its destination.';
comment on column postmeter.due.deadline is 'Its deadline; the earliest goes first, but for a share of the claims that takes the oldest delivery.';

create table postmeter.later (
    delivery_id    bigint not null primary key,
    destination_id integer not null,
    due_at         timestamptz not null
);
create index later_by_time on postmeter.later (due_at, delivery_id);
comment on table postmeter.later is 'Deliveries to send again at a time; promoted into due when it has come. Inserted and deleted, never updated.';
comment on column postmeter.later.delivery_id is 'The delivery.';
comment on column postmeter.later.destination_id is 'Its destination.';
comment on column postmeter.later.due_at is 'Not before this.';

create table postmeter.worker (
    id            uuid    not null primary key,
    name          text    not null,
    version       text    not null,
    started_at    timestamptz not null default clock_timestamp(),
    heartbeat_at  timestamptz not null default clock_timestamp(),
    lease         interval not null check (lease >= '1 second'),
    lease_until   timestamptz not null,
    unbroken_since timestamptz not null default clock_timestamp(),
    oldest_attempt uuid,
    sleeping      boolean not null default false,
    folding       jsonb,
    knows         integer,
    stopped_at    timestamptz,
    reaped_at     timestamptz
) with (fillfactor = 50);
comment on table postmeter.worker is 'One row per worker process: its heartbeat, in real time.';
comment on column postmeter.worker.id is 'Drawn anew at every start.';
comment on column postmeter.worker.name is 'Host and process, for people.';
comment on column postmeter.worker.version is 'Version of the program.';
comment on column postmeter.worker.started_at is 'When it started.';
comment on column postmeter.worker.heartbeat_at is 'Last heartbeat.';
comment on column postmeter.worker.lease is 'How long a heartbeat is good for.';
comment on column postmeter.worker.lease_until is 'After this its claims may be taken over.';
comment on column postmeter.worker.unbroken_since is 'Since when its heartbeats came in time: only a worker that has itself been well for a lease takes over others'' claims, so that after an outage of the database all get a chance.';
comment on column postmeter.worker.oldest_attempt is 'None of its attempts before this one was open at the last heartbeat; where the reaper starts to look. Null: at the first.';
comment on column postmeter.worker.sleeping is 'It waits for a notification: inserts into due send one.';
comment on column postmeter.worker.folding is 'What it is about to fold: how many entries at most, or the one; to find a row that kills workers.';
comment on column postmeter.worker.knows is 'Number of the newest migration that its program knows: `postmeter migrate` leaves what would break it until it is gone.';
comment on column postmeter.worker.stopped_at is 'It stopped by itself.';
comment on column postmeter.worker.reaped_at is 'Its claims were taken over.';

create table postmeter.attempt (
    id             uuid    not null default postmeter.new_id() primary key,
    delivery_id    bigint  not null,
    destination_id integer not null,
    call_id        uuid    not null,
    worker_id      uuid    not null,
    number         integer not null,
    claimed_at     timestamptz not null default postmeter.clock()
) partition by range (id);
create table postmeter.attempt_default partition of postmeter.attempt default;
create index attempt_by_delivery on postmeter.attempt (delivery_id);
create index attempt_by_worker on postmeter.attempt (worker_id, id);
comment on table postmeter.attempt is 'The intent to send a delivery in a call, committed before the call is made. Append-only. With outcome: the ledger.';
comment on table postmeter.attempt_default is 'Attempts for which no partition was made in time.';
comment on column postmeter.attempt.id is 'UUIDv7 made by the database.';
comment on column postmeter.attempt.delivery_id is 'What is sent.';
comment on column postmeter.attempt.destination_id is 'Where.';
comment on column postmeter.attempt.call_id is 'Attempts of one call share it.';
comment on column postmeter.attempt.worker_id is 'Who.';
comment on column postmeter.attempt.number is 'Which attempt of this delivery, from 1.';
comment on column postmeter.attempt.claimed_at is 'When it was claimed.';
create trigger append_only before update or delete or truncate on postmeter.attempt
    for each statement execute function postmeter.forbid_change();
create trigger append_only before update or delete or truncate on postmeter.attempt_default
    for each statement execute function postmeter.forbid_change();

create table postmeter.outcome (
    attempt_id     uuid    not null primary key,
    outcome        text    not null check (outcome in ('accepted', 'duplicate', 'conflict', 'rejected', 'not_entitled', 'batch_refused', 'throttled',
                               'unavailable', 'unauthorised', 'unknown', 'unrecognised', 'too_old', 'not_sent', 'no_credentials',
                               'unmapped', 'dry_run', 'handed_back')),
    code           text    check (octet_length(code) <= 200),
    is_try         boolean not null,
    shown_quantity numeric,
    retry_after    interval,
    receipt        text    check (octet_length(receipt) <= 1000),
    http_status    integer,
    their_request_id text  check (octet_length(their_request_id) <= 1000),
    excerpt        text    check (octet_length(excerpt) <= 8000),
    duration       interval,
    recorded_at    timestamptz not null default postmeter.clock()
) partition by range (attempt_id);
create table postmeter.outcome_default partition of postmeter.outcome default;
comment on table postmeter.outcome is 'What an attempt told us. The first writer wins, and that is the fence. Append-only.';
comment on table postmeter.outcome_default is 'Outcomes for which no partition was made in time.';
comment on column postmeter.outcome.attempt_id is 'The attempt.';
comment on column postmeter.outcome.outcome is 'What one call told us: docs/states.md.';
comment on column postmeter.outcome.code is 'The marketplace''s or the transport''s stable word.';
comment on column postmeter.outcome.is_try is 'It counts against the retry policy.';
comment on column postmeter.outcome.shown_quantity is 'The quantity they showed.';
comment on column postmeter.outcome.retry_after is 'How long they asked us to wait.';
comment on column postmeter.outcome.receipt is 'Their receipt (AWS: MeteringRecordId).';
comment on column postmeter.outcome.http_status is 'HTTP status.';
comment on column postmeter.outcome.their_request_id is 'Their id of the call, to quote to their support.';
comment on column postmeter.outcome.excerpt is 'What they said, bounded and without secrets.';
comment on column postmeter.outcome.duration is 'How long the call took.';
comment on column postmeter.outcome.recorded_at is 'When it was recorded.';
create trigger append_only before update or delete or truncate on postmeter.outcome
    for each statement execute function postmeter.forbid_change();
create trigger append_only before update or delete or truncate on postmeter.outcome_default
    for each statement execute function postmeter.forbid_change();

create table postmeter.late_evidence (
    id             bigint generated always as identity primary key,
    attempt_id     uuid   not null,
    delivery_id    bigint not null,
    outcome        text   not null,
    code           text,
    shown_quantity numeric,
    receipt        text,
    http_status    integer,
    their_request_id text,
    excerpt        text,
    worker_id      uuid,
    recorded_at    timestamptz not null default postmeter.clock()
);
create index late_evidence_by_delivery on postmeter.late_evidence (delivery_id, id);
comment on table postmeter.late_evidence is 'Outcomes that came after another was recorded for their attempt: from a worker that had lost its claim. Read before any resend or hold. Append-only.';
comment on column postmeter.late_evidence.id is 'Order of arrival.';
comment on column postmeter.late_evidence.attempt_id is 'The attempt.';
comment on column postmeter.late_evidence.delivery_id is 'The delivery.';
comment on column postmeter.late_evidence.outcome is 'See outcome.outcome.';
comment on column postmeter.late_evidence.code is 'See outcome.code.';
comment on column postmeter.late_evidence.shown_quantity is 'See outcome.shown_quantity.';
comment on column postmeter.late_evidence.receipt is 'See outcome.receipt.';
comment on column postmeter.late_evidence.http_status is 'See outcome.http_status.';
comment on column postmeter.late_evidence.their_request_id is 'See outcome.their_request_id.';
comment on column postmeter.late_evidence.excerpt is 'See outcome.excerpt.';
comment on column postmeter.late_evidence.worker_id is 'Who brought it.';
comment on column postmeter.late_evidence.recorded_at is 'When.';
create trigger append_only before update or delete or truncate on postmeter.late_evidence
    for each statement execute function postmeter.forbid_change();

create table postmeter.decision (
    id          bigint generated always as identity primary key,
    decided_at  timestamptz not null default postmeter.clock(),
    who         text    not null check (who <> ''),
    why         text    not null check (why <> ''),
    verb        text    not null check (verb in ('retry', 'release', 'write_off', 'hold', 'resolve', 'pause', 'resume', 'probe', 'close', 'reopen', 'apply',
                                        'retain', 'export', 'drop')),
    role_name   text    not null default session_user,
    delivery_id bigint,
    usage_id    uuid,
    destination_id integer,
    status_before text,
    status_after  text,
    quantity    numeric,
    target_delivery_id bigint,
    detail      jsonb   not null default '{}'
);
create index decision_by_delivery on postmeter.decision (delivery_id) where delivery_id is not null;
create index decision_by_target on postmeter.decision (target_delivery_id) where target_delivery_id is not null;
comment on table postmeter.decision is 'What people decided: who, why, and what it changed. Append-only.';
comment on column postmeter.decision.id is 'Order of the decisions.';
comment on column postmeter.decision.decided_at is 'When.';
comment on column postmeter.decision.who is 'The person.';
comment on column postmeter.decision.why is 'The reason, in a sentence.';
comment on column postmeter.decision.verb is 'retry, release, write_off, hold, resolve, pause, resume, probe, close, reopen, apply (a catalogue), retain (for how long the ledger is kept), export and drop (a month of the ledger).';
comment on column postmeter.decision.role_name is 'Database role that carried it out.';
comment on column postmeter.decision.delivery_id is 'The delivery.';
comment on column postmeter.decision.usage_id is 'The held usage.';
comment on column postmeter.decision.destination_id is 'The destination (pause, resume, close, reopen).';
comment on column postmeter.decision.status_before is 'Status before.';
comment on column postmeter.decision.status_after is 'Status after.';
comment on column postmeter.decision.quantity is 'Billing units concerned.';
comment on column postmeter.decision.target_delivery_id is 'Where released quantity went.';
comment on column postmeter.decision.detail is 'The filter and whatever else explains it.';
create trigger append_only before update or delete or truncate on postmeter.decision
    for each statement execute function postmeter.forbid_change();

create table postmeter.closed_month (
    destination_id integer not null,
    month          date    not null check (extract(day from month) = 1),
    closed_at      timestamptz not null default postmeter.clock(),
    decision_id    bigint  not null,
    primary key (destination_id, month)
);
comment on table postmeter.closed_month is 'Months that a person closed at a destination: their usage is held from then on, and nothing is carried into their hours.';
comment on column postmeter.closed_month.destination_id is 'The destination.';
comment on column postmeter.closed_month.month is 'First day of the billing month.';
comment on column postmeter.closed_month.closed_at is 'When.';
comment on column postmeter.closed_month.decision_id is 'The decision that closed it.';

create function postmeter.due_arrived() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- a notification in every commit costs most of the commit rate: only when something came, and someone sleeps
    if exists (select from arrived) and exists (select from postmeter.worker w where w.sleeping and w.lease_until > clock_timestamp()) then
        perform pg_notify('postmeter_due', '');
    end if;
    return null;
end
$$;
comment on function postmeter.due_arrived() is 'Trigger of due: wakes sleeping workers. Polling is the contract, this is a shortcut.';
create trigger wake after insert on postmeter.due
    referencing new table as arrived for each statement execute function postmeter.due_arrived();

insert into postmeter.migration (version, name) values (4, '0004_pre_ledger');
