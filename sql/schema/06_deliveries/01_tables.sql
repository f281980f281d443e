-- Queues, workers and the ledger: attempts, outcomes, late evidence, decisions.

create table postmeter.due (
    delivery_id    bigint      not null,
    destination_id integer     not null,
    deadline       timestamptz not null,
    primary key (destination_id, delivery_id)
) with (autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_threshold=1000, autovacuum_vacuum_cost_delay=0);
create index due_by_deadline on postmeter.due (destination_id, deadline, delivery_id);
comment on table postmeter.due is
    'Deliveries to send now; the queue that workers claim from. Inserted and deleted, never updated.';
comment on column postmeter.due.delivery_id is 'The delivery.';
comment on column postmeter.due.destination_id is 'Its destination.';
comment on column postmeter.due.deadline is
    'Its deadline; the earliest goes first, but for a share of the claims that takes the oldest delivery.';

create table postmeter.later (
    delivery_id    bigint      primary key,
    destination_id integer     not null,
    due_at         timestamptz not null
);
create index later_by_time on postmeter.later (due_at, delivery_id);
comment on table postmeter.later is
    'Deliveries to send again at a time; promoted into due when it has come. Inserted and deleted, never updated.';
comment on column postmeter.later.delivery_id is 'The delivery.';
comment on column postmeter.later.destination_id is 'Its destination.';
comment on column postmeter.later.due_at is 'Not before this.';

create table postmeter.worker (
    id             uuid        primary key,
    name           text        not null,
    version        text        not null,
    started_at     timestamptz not null default clock_timestamp(),
    heartbeat_at   timestamptz not null default clock_timestamp(),
    lease          interval    not null check (lease >= '00:00:01'),
    lease_until    timestamptz not null,
    unbroken_since timestamptz not null default clock_timestamp(),
    oldest_attempt uuid,
    sleeping       boolean     not null default false,
    folding        jsonb,
    knows          integer,
    stopped_at     timestamptz,
    reaped_at      timestamptz,
    acknowledged   jsonb       not null default '{}'
) with (fillfactor=50);
comment on table postmeter.worker is 'One row per worker process: its heartbeat, in real time.';
comment on column postmeter.worker.id is 'Drawn anew at every start.';
comment on column postmeter.worker.name is 'Host and process, for people.';
comment on column postmeter.worker.version is 'Version of the program.';
comment on column postmeter.worker.started_at is 'When it started.';
comment on column postmeter.worker.heartbeat_at is 'Last heartbeat.';
comment on column postmeter.worker.lease is 'How long a heartbeat is good for.';
comment on column postmeter.worker.lease_until is 'After this its claims may be taken over.';
comment on column postmeter.worker.unbroken_since is
    'Since when its heartbeats came in time: only a worker that has itself been well for a lease takes over '
    'others'' claims, so that after an outage of the database all get a chance.';
comment on column postmeter.worker.oldest_attempt is
    'None of its attempts before this one was open at the last heartbeat; where the reaper starts to look. Null: '
    'at the first.';
comment on column postmeter.worker.sleeping is 'It waits for a notification: inserts into due send one.';
comment on column postmeter.worker.folding is
    'What it has in hand: per shard the first and the last entry of its fold (spans) and of its fold of what did '
    'not go through before (apart), or the suspect range (suspect). Null: it folds nothing.';
comment on column postmeter.worker.knows is
    'The newest migration that its program knows, by its number and 70 for those of before the baseline (71: '
    '0001_pre_baseline): `postmeter migrate` leaves what would break it until it has ended. Null: a program that '
    'did not say so yet.';
comment on column postmeter.worker.stopped_at is 'It stopped by itself.';
comment on column postmeter.worker.reaped_at is 'Its claims were taken over.';
comment on column postmeter.worker.acknowledged is
    'By number of destination: the version by which it acts (no call begins by an older one any more), and how '
    'many calls were on the wire when it said so.';

create table postmeter.attempt (
    id             uuid        default postmeter.new_id() primary key,
    delivery_id    bigint      not null,
    destination_id integer     not null,
    call_id        uuid        not null,
    worker_id      uuid        not null,
    number         integer     not null,
    claimed_at     timestamptz not null default postmeter.clock()
) partition by range (id);
create index attempt_by_delivery on postmeter.attempt (delivery_id);
create index attempt_by_worker on postmeter.attempt (worker_id, id);
comment on table postmeter.attempt is
    'The intent to send a delivery in a call, committed before the call is made. Append-only. With outcome: the '
    'ledger.';
comment on column postmeter.attempt.id is 'UUIDv7 made by the database.';
comment on column postmeter.attempt.delivery_id is 'What is sent.';
comment on column postmeter.attempt.destination_id is 'Where.';
comment on column postmeter.attempt.call_id is 'Attempts of one call share it.';
comment on column postmeter.attempt.worker_id is 'Who.';
comment on column postmeter.attempt.number is 'Which attempt of this delivery, from 1.';
comment on column postmeter.attempt.claimed_at is 'When it was claimed.';
create trigger append_only before delete or update or truncate on postmeter.attempt
    for each statement execute function postmeter.forbid_change();

create table postmeter.attempt_default partition of postmeter.attempt default;
comment on table postmeter.attempt_default is 'Attempts for which no partition was made in time.';
create trigger append_only before delete or update or truncate on postmeter.attempt_default
    for each statement execute function postmeter.forbid_change();

create table postmeter.outcome (
    attempt_id       uuid        primary key,
    outcome          text        not null
        check (outcome in ('accepted', 'duplicate', 'conflict', 'rejected', 'not_entitled', 'batch_refused',
            'throttled', 'unavailable', 'unauthorised', 'unknown', 'unrecognised', 'too_old', 'not_sent',
            'no_credentials', 'unmapped', 'dry_run', 'handed_back')),
    code             text        check (octet_length(code) <= 200),
    is_try           boolean     not null,
    shown_quantity   numeric,
    retry_after      interval,
    receipt          text        check (octet_length(receipt) <= 1000),
    http_status      integer,
    their_request_id text        check (octet_length(their_request_id) <= 1000),
    excerpt          text        check (octet_length(excerpt) <= 8000),
    duration         interval,
    recorded_at      timestamptz not null default postmeter.clock()
) partition by range (attempt_id);
comment on table postmeter.outcome is
    'What an attempt told us. The first writer wins, and that is the fence. Append-only.';
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
create trigger append_only before delete or update or truncate on postmeter.outcome
    for each statement execute function postmeter.forbid_change();

create table postmeter.outcome_default partition of postmeter.outcome default;
comment on table postmeter.outcome_default is 'Outcomes for which no partition was made in time.';
create trigger append_only before delete or update or truncate on postmeter.outcome_default
    for each statement execute function postmeter.forbid_change();

create table postmeter.late_evidence (
    id               bigint      generated always as identity primary key,
    attempt_id       uuid        not null,
    delivery_id      bigint      not null,
    outcome          text        not null,
    code             text,
    shown_quantity   numeric,
    receipt          text,
    http_status      integer,
    their_request_id text,
    excerpt          text,
    worker_id        uuid,
    recorded_at      timestamptz not null default postmeter.clock()
);
create index late_evidence_by_delivery on postmeter.late_evidence (delivery_id, id);
comment on table postmeter.late_evidence is
    'Outcomes that came after another was recorded for their attempt: from a worker that had lost its claim. Read '
    'before any resend or hold. Append-only.';
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
create trigger append_only before delete or update or truncate on postmeter.late_evidence
    for each statement execute function postmeter.forbid_change();

create table postmeter.decision (
    id                 bigint      generated always as identity primary key,
    decided_at         timestamptz not null default postmeter.clock(),
    who                text        not null check (who <> ''),
    why                text        not null check (why <> ''),
    verb               text        not null
        check (verb in ('retry', 'release', 'write_off', 'hold', 'resolve', 'pause', 'resume', 'probe', 'close',
            'reopen', 'apply', 'retain', 'export', 'drop', 'set_alert', 'judge', 'declare', 'recount')),
    role_name          text        not null default SESSION_USER,
    delivery_id        bigint,
    usage_id           uuid,
    destination_id     integer,
    status_before      text,
    status_after       text,
    quantity           numeric,
    target_delivery_id bigint,
    detail             jsonb       not null default '{}'
);
create index decision_by_delivery on postmeter.decision (delivery_id) where delivery_id is not null;
create index decision_by_target on postmeter.decision (target_delivery_id) where target_delivery_id is not null;
-- who said of which usage that it is right
-- squawk-ignore require-concurrent-index-creation
create index decision_by_usage on postmeter.decision (usage_id) where usage_id is not null;
comment on table postmeter.decision is 'What people decided: who, why, and what it changed. Append-only.';
comment on column postmeter.decision.id is 'Order of the decisions.';
comment on column postmeter.decision.decided_at is 'When.';
comment on column postmeter.decision.who is 'The person.';
comment on column postmeter.decision.why is 'The reason, in a sentence.';
comment on column postmeter.decision.verb is
    'retry, release, recount, write_off, hold, resolve, pause, resume, probe, close, reopen, apply (a catalogue), '
    'retain (for how long the ledger is kept), export and drop (a month of the ledger), set_alert (a rule of the '
    'alerts), judge (a contradiction), declare (what this database is).';
comment on column postmeter.decision.role_name is 'Database role that carried it out.';
comment on column postmeter.decision.delivery_id is 'The delivery.';
comment on column postmeter.decision.usage_id is 'The held usage.';
comment on column postmeter.decision.destination_id is 'The destination (pause, resume, close, reopen).';
comment on column postmeter.decision.status_before is 'Status before.';
comment on column postmeter.decision.status_after is 'Status after.';
comment on column postmeter.decision.quantity is 'Billing units concerned.';
comment on column postmeter.decision.target_delivery_id is 'Where released quantity went.';
comment on column postmeter.decision.detail is 'The filter and whatever else explains it.';
create trigger append_only before delete or update or truncate on postmeter.decision
    for each statement execute function postmeter.forbid_change();

create function postmeter.wake_workers() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- a notification in every commit costs most of the commit rate: only when something came, and someone sleeps
    if exists (select from arrived) and exists (select from postmeter.worker w where w.sleeping
        and w.lease_until > clock_timestamp()) then
        perform pg_notify('postmeter_due', '');
    end if;
    return null;
end
$$;
comment on function postmeter.wake_workers() is
    'Trigger of due: wakes sleeping workers. Polling is the contract, this is a shortcut.';
create trigger wake after insert on postmeter.due
    referencing new table as arrived for each statement execute function postmeter.wake_workers();

create function postmeter.open_attempts() returns table (attempt_id uuid, delivery_id bigint, worker_id uuid)
language sql stable rows 100 set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    set enable_bitmapscan = off set jit = off set search_path = pg_catalog, pg_temp
as $$
    select a.id, a.delivery_id, a.worker_id
    from postmeter.worker w
    join postmeter.attempt a on a.worker_id = w.id
     and a.id >= coalesce(w.oldest_attempt, postmeter.id_at(w.started_at - interval '1 hour'))
    where not exists (select from postmeter.outcome o where o.attempt_id = a.id)
$$;
comment on function postmeter.open_attempts() is
    'Attempts without an outcome: a call may be under way, or its worker died.';

create function postmeter.receipts_of(delivery bigint) returns table (receipt text)
language sql stable
begin atomic
select o.receipt from postmeter.attempt a join postmeter.outcome o on o.attempt_id = a.id
    where a.delivery_id = receipts_of.delivery and o.receipt is not null
    union all
    select l.receipt from postmeter.late_evidence l where l.delivery_id = receipts_of.delivery
        and l.receipt is not null;
end;
comment on function postmeter.receipts_of(bigint) is
    'The receipts that a remittance was given, by its attempts and by what came too late.';

create function postmeter.beside(delivery bigint) returns table (delivery_id bigint)
language sql stable
begin atomic
-- a worker claims what goes in one call at one moment, and an id tells its own
    select b.delivery_id
    from postmeter.attempt a
    join postmeter.attempt b on b.worker_id = a.worker_id and b.call_id = a.call_id
     and b.id between postmeter.id_at(postmeter.moment_of(a.id) - interval '1 second')
                  and postmeter.id_at(postmeter.moment_of(a.id) + interval '1 second')
    where a.delivery_id = beside.delivery
    union
    select g.id
    from postmeter.delivery d
    join postmeter.delivery g on g.meter_id = d.meter_id and g.hour between d.hour - interval '7 days'
        and d.hour + interval '7 days'
    where d.id = beside.delivery;
end;
comment on function postmeter.beside(bigint) is
    'The remittances that went out in a call with this one, or bill the same buyer and dimension within a week of '
    'its hour; itself too.';
