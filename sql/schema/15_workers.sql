-- Workers and consoles that came and went, and what slows calls down.

create table postmeter.refusal (
    destination_id integer          not null references postmeter.destination(id) on delete cascade,
    buyer          text collate "C" not null,
    delivery_id    bigint           not null,
    code           text             not null,
    http_status    integer,
    alone          integer          not null check (alone >= 0),
    since          timestamptz      not null default clock_timestamp(),
    refused_at     timestamptz      not null default clock_timestamp(),
    refused_id     uuid             not null,
    passed_at      timestamptz,
    judged_at      timestamptz,
    primary key (destination_id, buyer),
    constraint refusal_judged check (judged_at is null or alone > 0)
) with (fillfactor=50);
comment on table postmeter.refusal is
    'Buyers whose calls were refused in words that may be about one of them or about the credential (a 403). What '
    'others are answered after it says whose fault it is. A buyer that is accepted has no row. Its times are real '
    'times.';
comment on column postmeter.refusal.destination_id is 'The destination.';
comment on column postmeter.refusal.buyer is 'The buyer, as in meter.buyer.';
comment on column postmeter.refusal.delivery_id is 'The remittance that was refused last.';
comment on column postmeter.refusal.code is 'Their word for it.';
comment on column postmeter.refusal.http_status is 'The HTTP status.';
comment on column postmeter.refusal.alone is
    'How often it was refused in a call of its own; 0: only together with others. From the first time on it is '
    'sent alone.';
comment on column postmeter.refusal.since is 'When it was refused first.';
comment on column postmeter.refusal.refused_at is 'When it was refused last.';
comment on column postmeter.refusal.refused_id is
    'Attempts with later ids were claimed after the refusal that others must pass after.';
comment on column postmeter.refusal.passed_at is
    'When another buyer was accepted by a call that was claimed after it: the credential may bill.';
comment on column postmeter.refusal.judged_at is
    'When it was found to be this buyer''s own: refused alone, with others passing. Its remittance is held since.';

create table postmeter.pace (
    quota_id       integer          primary key references postmeter.quota(id) on delete cascade,
    wait_until     timestamptz      not null default '-infinity',
    rate           double precision check (rate > 0::double precision),
    base           double precision not null default 0
        check (base >= 0::double precision and base <= 1::double precision),
    trial_rate     double precision check (trial_rate > 0::double precision),
    trial_share    double precision check (trial_share >= 0::double precision and trial_share <= 1::double precision),
    epoch_at       timestamptz      not null default clock_timestamp(),
    epoch_calls    double precision not null default 0,
    epoch_faults   double precision not null default 0,
    window_at      timestamptz      not null default clock_timestamp(),
    window_calls   double precision not null default 0,
    window_passed  double precision not null default 0,
    before_seconds double precision not null default 0,
    before_calls   double precision not null default 0,
    before_passed  double precision not null default 0,
    updated_at     timestamptz      not null default clock_timestamp(),
    wait_ended_at  timestamptz      not null default '-infinity',
    constraint pace_trial check ((trial_rate is null) = (trial_share is null))
) with (fillfactor=50);
comment on table postmeter.pace is
    'How fast a quota is taken by what its calls were answered: throttling and server errors slow the whole fleet '
    'down, and trip nothing. A quota that never met any has no row. Its times are real times.';
comment on column postmeter.pace.quota_id is 'The quota.';
comment on column postmeter.pace.wait_until is 'No call starts before: the server said so (Retry-After).';
comment on column postmeter.pace.rate is
    'Calls a second at most, below what the quota allows; null: as the quota says.';
comment on column postmeter.pace.base is
    'The share of calls that fail whatever the pace: slowing down for these would only lose time.';
comment on column postmeter.pace.trial_rate is
    'The pace before it was last lowered, until it is known whether that helped.';
comment on column postmeter.pace.trial_share is 'The share of calls that failed at that pace.';
comment on column postmeter.pace.epoch_at is 'Since when calls are counted for the next change.';
comment on column postmeter.pace.epoch_calls is 'Calls answered since.';
comment on column postmeter.pace.epoch_faults is 'Of these, throttled or answered by a server error.';
comment on column postmeter.pace.window_at is 'Begin of the running ten seconds.';
comment on column postmeter.pace.window_calls is 'Calls answered in them.';
comment on column postmeter.pace.window_passed is 'Of these, with a record accepted.';
comment on column postmeter.pace.before_seconds is 'How long the ten seconds before were.';
comment on column postmeter.pace.before_calls is 'Calls answered in the ten seconds before.';
comment on column postmeter.pace.before_passed is 'Of these, with a record accepted.';
comment on column postmeter.pace.updated_at is 'When a worker last wrote this row.';
comment on column postmeter.pace.wait_ended_at is
    'When a person last ended its wait: what a worker heard before says nothing any more.';

create table postmeter.console (
    id         uuid        primary key,
    name       text        not null,
    version    text        not null,
    started_at timestamptz not null default clock_timestamp(),
    seen_at    timestamptz not null default clock_timestamp(),
    stopped_at timestamptz
) with (fillfactor=50);
comment on table postmeter.console is
    'One row per console process: its signs of life, in real time. Rows of a week ago are forgotten.';
comment on column postmeter.console.id is 'Drawn anew at every start.';
comment on column postmeter.console.name is 'Host and process, for people.';
comment on column postmeter.console.version is 'Version of the program.';
comment on column postmeter.console.started_at is 'When it started.';
comment on column postmeter.console.seen_at is 'Its last sign of life; there is one every ten seconds.';
comment on column postmeter.console.stopped_at is 'When it said that it stops; null: it has not.';

create function postmeter.console_seen(id uuid, name text, version text, stops boolean) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into postmeter.console (id, name, version, stopped_at)
    values (console_seen.id, left(console_seen.name, 255), left(console_seen.version, 255), case when stops
        then clock_timestamp() end)
    on conflict on constraint console_pkey do update
    set seen_at = clock_timestamp(), stopped_at = case when stops then clock_timestamp() end
$$;
comment on function postmeter.console_seen(uuid, text, text, boolean) is
    'A console says that it lives, or that it stops.';

create function postmeter.forget_processes(most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    forgotten integer;
    consoles  integer;
begin
    delete from postmeter.worker w
    where w.id in (
        select x.id from postmeter.worker x
        where x.reaped_at < clock_timestamp() - interval '7 days'
          -- what it had in hand is known: nobody has to look for it any more
          and not exists (
            select from postmeter.attempt a
            where a.worker_id = x.id and a.id >= coalesce(x.oldest_attempt,
                postmeter.id_at(x.started_at - interval '1 hour'))
              and not exists (select from postmeter.outcome o where o.attempt_id = a.id))
          -- what it died with while it folded may be suspect for longer
          and (x.folding is null or x.reaped_at < clock_timestamp() - interval '30 days')
        order by x.reaped_at limit most for update skip locked);
    get diagnostics forgotten = row_count;
    delete from postmeter.console c
    where c.id in (
        select x.id from postmeter.console x where x.seen_at < clock_timestamp() - interval '7 days'
        order by x.seen_at limit most for update skip locked);
    get diagnostics consoles = row_count;
    return forgotten + consoles;
end
$$;
comment on function postmeter.forget_processes(integer) is
    'Forgets up to so many workers and so many consoles that ended more than a week ago: no worker of which an '
    'attempt has no outcome, and one that died while it folded only after 30 days. Attempts keep the worker''s id. '
    'Returns how many.';
