-- The breaker of a destination.

create table postmeter.breaker (
    destination_id  integer     primary key references postmeter.destination(id) on delete cascade,
    faults          integer     not null check (faults >= 1),
    opened_at       timestamptz not null,
    open_until      timestamptz not null,
    probing_by      uuid,
    probing_until   timestamptz,
    ramp            integer     check (ramp >= 1),
    outcome         text        not null,
    code            text,
    http_status     integer,
    updated_at      timestamptz not null,
    probed_deadline timestamptz,
    probed_delivery bigint,
    constraint breaker_probe check ((probing_by is null) = (probing_until is null)),
    constraint breaker_recovers check (ramp is null or probing_by is null)
) with (fillfactor=50);
comment on table postmeter.breaker is
    'Destinations that have a fault as a whole, or recover from one. A healthy destination has no row. All times '
    'are real: clock_timestamp(), not postmeter.clock().';
comment on column postmeter.breaker.destination_id is 'The destination.';
comment on column postmeter.breaker.faults is
    'How often it opened in a row, failed probes included: the pause doubles with each.';
comment on column postmeter.breaker.opened_at is 'Since when nothing, or not everything, is sent.';
comment on column postmeter.breaker.open_until is
    'No call before this; after it one worker of the fleet probes with one call.';
comment on column postmeter.breaker.probing_by is 'The worker that may probe.';
comment on column postmeter.breaker.probing_until is 'Until when it may: it ends by itself, should that worker die.';
comment on column postmeter.breaker.ramp is
    'Once a probe was answered: calls that each worker may have in flight. It doubles as they are answered; null: '
    'no call but the probe.';
comment on column postmeter.breaker.outcome is 'Outcome of the last call that met the fault.';
comment on column postmeter.breaker.code is 'Its code.';
comment on column postmeter.breaker.http_status is 'Its HTTP status.';
comment on column postmeter.breaker.updated_at is 'When a worker last wrote this row.';
comment on column postmeter.breaker.probed_deadline is
    'Deadline of the remittance that the last failed probe took: the next one takes another, behind it.';
comment on column postmeter.breaker.probed_delivery is 'That remittance.';
