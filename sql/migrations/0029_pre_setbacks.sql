-- 0029_pre_setbacks: what keeps one member of a batch from going through is a row with its name, and costs the others nothing.
-- programs: from 0022
-- lock: none

create table postmeter.setback (
    step           text collate "C" not null check (octet_length(step) between 1 and 50),
    member         text collate "C" not null check (octet_length(member) between 1 and 300),
    destination_id integer,
    org            text,
    since          timestamptz not null default clock_timestamp(),
    last_at        timestamptz not null default clock_timestamp(),
    skipped        integer not null default 0 check (skipped >= 0),
    failed         integer not null default 0 check (failed >= 0),
    code           text,
    reason         text,
    holder         text,
    set_aside_at   timestamptz,
    next_at        timestamptz not null default clock_timestamp(),
    held_off_until timestamptz,
    primary key (step, member)
);
comment on table postmeter.setback is 'Members of a step''s batch that did not go through: locked by another session, or failing. The rest of the batch went on. A row goes when its member passes. All times are the server''s.';
comment on column postmeter.setback.step is 'The step: fold, cut, carry, month_end, review, …';
comment on column postmeter.setback.member is 'What the step handles one of, by its number or id: fold a usage (or an org, as org:…), cut and review a remittance, carry and month_end a meter.';
comment on column postmeter.setback.destination_id is 'The member''s destination, if it has one.';
comment on column postmeter.setback.org is 'The member''s org, where the step knows it.';
comment on column postmeter.setback.since is 'When it first did not go through.';
comment on column postmeter.setback.last_at is 'When it last did not.';
comment on column postmeter.setback.skipped is 'Rounds in a row in which another session held its lock.';
comment on column postmeter.setback.failed is 'Times in a row that it failed alone while another member passed.';
comment on column postmeter.setback.code is 'SQLSTATE of the last failure.';
comment on column postmeter.setback.reason is 'The server''s message of the last failure.';
comment on column postmeter.setback.holder is 'The session that held the lock when it was last waited for.';
comment on column postmeter.setback.set_aside_at is 'When it was set aside: it failed twice alone while another passed. It is tried again at next_at.';
comment on column postmeter.setback.next_at is 'Not tried again before, unless a change could cure it (postmeter.try_setbacks_again).';
comment on column postmeter.setback.held_off_until is 'Until then no new fold locks it: whoever waits to lock it alone comes next.';

create table postmeter.step_failure (
    step      text collate "C" not null check (octet_length(step) between 1 and 50),
    worker_id uuid not null,
    since     timestamptz not null default clock_timestamp(),
    last_at   timestamptz not null default clock_timestamp(),
    times     integer not null default 1 check (times > 0),
    code      text,
    message   text not null,
    primary key (step, worker_id)
);
comment on table postmeter.step_failure is 'Steps that fail as a whole, by worker, with the last error. A row goes when the step goes well again.';
comment on column postmeter.step_failure.step is 'The step.';
comment on column postmeter.step_failure.worker_id is 'The worker that meets it.';
comment on column postmeter.step_failure.since is 'When it first failed.';
comment on column postmeter.step_failure.last_at is 'When it last failed.';
comment on column postmeter.step_failure.times is 'Times in a row.';
comment on column postmeter.step_failure.code is 'SQLSTATE of the last error.';
comment on column postmeter.step_failure.message is 'The last error.';

create function postmeter.try_setbacks_again() returns integer
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    with again as (
        update postmeter.setback s set next_at = clock_timestamp() where s.next_at > clock_timestamp() returning 1
    )
    select count(*)::integer from again;
end;
comment on function postmeter.try_setbacks_again() is 'What was set aside is tried again in the next round: after a change that could cure it. Returns how many.';

revoke execute on function postmeter.try_setbacks_again() from public;
grant execute on function postmeter.try_setbacks_again() to postmeter_operator, postmeter_worker, postmeter_console;
grant select on postmeter.setback, postmeter.step_failure to postmeter_reader, postmeter_operator, postmeter_worker;
grant insert, update, delete on postmeter.setback, postmeter.step_failure to postmeter_worker;

insert into postmeter.migration (version, name) values (29, '0029_pre_setbacks');
