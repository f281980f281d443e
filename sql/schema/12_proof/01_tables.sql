-- The balance: what was written and not proven since.

create table postmeter.balance_check (
    one           boolean          default true primary key check (one),
    next_at       timestamptz      not null default '-infinity',
    checked_at    timestamptz,
    open          bigint           check (open >= 0),
    example       text,
    seconds       double precision,
    break_id      bigint           not null default 0,
    since         timestamptz      not null default clock_timestamp(),
    round_at      timestamptz      not null default clock_timestamp(),
    round_ends_at timestamptz      not null default clock_timestamp(),
    meters_after  bigint           default 0,
    usage_after   text collate "C" default '',
    round_seconds double precision not null default 0,
    whole_seconds double precision,
    whole_from    timestamptz,
    whole_until   timestamptz,
    constraint balance_check_whole check ((checked_at is null) = (open is null)),
    constraint balance_check_turn check (num_nulls(whole_from, whole_until, whole_seconds) in (0, 3))
);
comment on table postmeter.balance_check is
    'What the last check of the balance found. One row; one worker of the fleet checks at a time.';
comment on column postmeter.balance_check.one is 'There is one row.';
comment on column postmeter.balance_check.next_at is 'No check before this, in real time.';
comment on column postmeter.balance_check.checked_at is
    'As of when everything that had been written was proven, in real time; null: never.';
comment on column postmeter.balance_check.open is 'Meters, and orgs'' metrics, whose difference was not zero.';
comment on column postmeter.balance_check.example is 'One of them.';
comment on column postmeter.balance_check.seconds is
    'How long the last check took, also one that was given up; without what was read again in turn.';
comment on column postmeter.balance_check.break_id is
    'The last timeline_break after which everything was asked to be read again.';
comment on column postmeter.balance_check.since is 'Since when the balance is proven this way.';
comment on column postmeter.balance_check.round_at is
    'Since when the whole ledger is being read again; later than now: from then on. Real time.';
comment on column postmeter.balance_check.round_ends_at is
    'By when it is to be read: as much of it is read as of this time has passed.';
comment on column postmeter.balance_check.meters_after is 'Meters up to this one have been read again; null: all.';
comment on column postmeter.balance_check.usage_after is 'Usage up to this slice has been read again; null: all.';
comment on column postmeter.balance_check.round_seconds is 'How long that has taken so far.';
comment on column postmeter.balance_check.whole_seconds is 'How long it took the last time; null: not yet.';
comment on column postmeter.balance_check.whole_from is
    'The whole ledger was read between this time and whole_until, the last time it was; null: not yet.';
comment on column postmeter.balance_check.whole_until is 'The end of that.';

create table postmeter.proven_remittance (
    meter_id    bigint  not null,
    delivery_id bigint  not null,
    denominator numeric not null,
    remains     numeric not null,
    primary key (meter_id, delivery_id)
);
comment on table postmeter.proven_remittance is
    'What a remittance left on a meter when it was read last, if it was not nothing (remittance_balance.remains).';
comment on column postmeter.proven_remittance.meter_id is 'The meter.';
comment on column postmeter.proven_remittance.delivery_id is 'The remittance.';
comment on column postmeter.proven_remittance.denominator is 'The meter''s denominator at that time.';
comment on column postmeter.proven_remittance.remains is 'In billing units x that denominator.';

create table postmeter.proven_meter (
    meter_id    bigint      primary key,
    denominator numeric     not null,
    remains     numeric     not null,
    difference  numeric,
    proven_at   timestamptz,
    read_at     timestamptz
);
create index proven_meter_open on postmeter.proven_meter (meter_id) where difference <> 0;
comment on table postmeter.proven_meter is
    'The proof of each meter. A write to it or to a remittance of it takes the proof back: the meter has a row in '
    'balance_moved until it is proven again.';
comment on column postmeter.proven_meter.meter_id is 'The meter.';
comment on column postmeter.proven_meter.denominator is 'The meter''s denominator when it was proven.';
comment on column postmeter.proven_meter.remains is
    'What all its remittances leave, in billing units x that denominator.';
comment on column postmeter.proven_meter.difference is
    'remains less what the meter held then (meter_balance.holds); null: not proven yet.';
comment on column postmeter.proven_meter.proven_at is 'As of when, in real time.';
comment on column postmeter.proven_meter.read_at is
    'When all its remittances were read last, in real time; null: from its first on as they were written.';

create table postmeter.balance_moved (
    meter_id    bigint not null,
    delivery_id bigint
);
create index balance_moved_by_meter on postmeter.balance_moved (meter_id);
comment on table postmeter.balance_moved is
    'Meters, and remittances on them, that were written to and not proven since. Written by triggers in the '
    'writer''s own transaction: nobody proves before it what is committed later. One meter may stand here often.';
comment on column postmeter.balance_moved.meter_id is 'The meter.';
comment on column postmeter.balance_moved.delivery_id is 'The remittance; null: only the meter itself.';

create table postmeter.balance_anew (
    meter_id bigint      primary key,
    after    bigint      not null default 0,
    asked_at timestamptz not null default clock_timestamp()
);
comment on table postmeter.balance_anew is
    'Meters whose remittances are all to be read again: in turn, on request, after commits were lost, and when a '
    'proof did not close.';
comment on column postmeter.balance_anew.meter_id is 'The meter.';
comment on column postmeter.balance_anew.after is 'Its remittances up to this one have been read again.';
comment on column postmeter.balance_anew.asked_at is 'Since when, in real time.';

create table postmeter.usage_moved (
    slice text collate "C" not null
);
create index usage_moved_by_slice on postmeter.usage_moved (slice);
comment on table postmeter.usage_moved is
    'Slices of usage of which something left the outbox or was held no longer, and that were not proven since. '
    'Written in the writer''s own transaction, by the fold that takes entries and by triggers. One slice may stand '
    'here often.';
comment on column postmeter.usage_moved.slice is 'The first eight digits of the usages'' ids: 66 seconds of recording.';

create table postmeter.usage_open (
    first    text collate "C" not null,
    last     text collate "C" not null,
    open     bigint           not null,
    example  text,
    found_at timestamptz      not null default clock_timestamp(),
    primary key (first, last)
);
comment on table postmeter.usage_open is
    'Slices of usage that did not add up when they were read last. Every check reads them again.';
comment on column postmeter.usage_open.first is 'The first slice; carried: dropped months.';
comment on column postmeter.usage_open.last is 'The last slice.';
comment on column postmeter.usage_open.open is 'Orgs'' metrics of which usage is in no place, or in two.';
comment on column postmeter.usage_open.example is 'One of them.';
comment on column postmeter.usage_open.found_at is 'When, in real time.';

create table postmeter.balance_gate (
    one boolean primary key
);
comment on table postmeter.balance_gate is
    'Empty. Whoever proves locks it for a transaction: one proves at a time, and sees what the one before kept.';
comment on column postmeter.balance_gate.one is 'There is no row.';

create function postmeter.moved_by_cut() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into postmeter.balance_moved (meter_id, delivery_id) select w.meter_id, w.delivery_id from written w;
    return null;
end
$$;
comment on function postmeter.moved_by_cut() is 'Trigger of cut: takes the proof of its meters back.';
create trigger moved after insert on postmeter.cut
    referencing new table as written for each statement execute function postmeter.moved_by_cut();

create function postmeter.moved_by_meter() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op <> 'INSERT' then
        insert into postmeter.balance_moved (meter_id) values (old.id);
    end if;
    if tg_op = 'INSERT' or tg_op = 'UPDATE' and new.id <> old.id then
        insert into postmeter.balance_moved (meter_id) values (new.id);
    end if;
    return null;
end
$$;
comment on function postmeter.moved_by_meter() is 'Trigger of meter: takes its proof back.';
create trigger moved after update on postmeter.meter
    for each row
    when (old.id is distinct from new.id or old.carried is distinct from new.carried or old.denominator is distinct
        from new.denominator)
    execute function postmeter.moved_by_meter();
create trigger moved_whole after insert or delete on postmeter.meter
    for each row execute function postmeter.moved_by_meter();

create function postmeter.moved_by_metric() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- another factor counts everything anew
    insert into postmeter.balance_anew (meter_id)
    select x.id from (values (old.meter_id), (new.meter_id)) x(id)
    where tg_op = 'DELETE' and x.id is not null
       or tg_op = 'UPDATE' and (old.id, old.meter_id, old.factor_numerator, old.factor_denominator)
                               is distinct from (new.id, new.meter_id, new.factor_numerator, new.factor_denominator)
    on conflict do nothing;
    insert into postmeter.balance_moved (meter_id) values (coalesce(new.meter_id, old.meter_id));
    return null;
end
$$;
comment on function postmeter.moved_by_metric() is
    'Trigger of meter_metric: takes the meter''s proof back; where a factor changes, everything of it is read '
    'again.';
create trigger moved after update on postmeter.meter_metric
    for each row
    when (old.id is distinct from new.id or old.meter_id is distinct from new.meter_id or old.covered is distinct
        from new.covered or old.factor_numerator is distinct from new.factor_numerator
        or old.factor_denominator is distinct from new.factor_denominator)
    execute function postmeter.moved_by_metric();
create trigger moved_whole after delete on postmeter.meter_metric
    for each row execute function postmeter.moved_by_metric();

-- What is dropped takes no proof back: its balance is in a row that adds up. A share forgets what its meters marked.
create function postmeter.moved_by_delivery() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into postmeter.balance_moved (meter_id, delivery_id)
    select x.meter_id, old.id
    from (select old.meter_id
          union select case when tg_op = 'UPDATE' then new.meter_id end
          union select p.meter_id from postmeter.part p where p.delivery_id = old.id
          union select c.meter_id from postmeter.cut c where c.delivery_id = old.id) x
    where x.meter_id is not null
      and not (tg_op = 'DELETE' and exists (select from postmeter.dropped_meter k where k.id = x.meter_id));
    return null;
end
$$;
comment on function postmeter.moved_by_delivery() is
    'Trigger of delivery: takes the proof of every meter that it counts on back.';
-- A cut writes its own rows, which say so: its change of an open hour (one round more) is left out here, and so is
-- every
-- change after which the remittance bills what it billed before.
create trigger moved after update on postmeter.delivery
    for each row
    when (old.meter_id is distinct from new.meter_id or new.round < old.round
        or (((old.status in ('open', 'nothing_due', 'released')) <> (new.status in ('open', 'nothing_due', 'released')))
        and (not (old.status = 'open' and (new.round = (old.round + 1)))))
        or (old.status <> 'open' and new.status = 'open'))
    execute function postmeter.moved_by_delivery();
create trigger moved_whole after delete on postmeter.delivery
    for each row execute function postmeter.moved_by_delivery();

create function postmeter.moved_by_part() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op <> 'INSERT' and not (tg_op = 'DELETE' and exists (select from postmeter.dropped_meter k
        where k.id = old.meter_id)) then
        insert into postmeter.balance_moved (meter_id, delivery_id) values (old.meter_id, old.delivery_id);
    end if;
    if tg_op <> 'DELETE' then
        insert into postmeter.balance_moved (meter_id, delivery_id) values (new.meter_id, new.delivery_id);
    end if;
    return null;
end
$$;
comment on function postmeter.moved_by_part() is 'Trigger of part: takes the meter''s proof back.';
create trigger moved after insert or delete or update on postmeter.part
    for each row execute function postmeter.moved_by_part();

create function postmeter.moved_by_allocation() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into postmeter.balance_moved (meter_id, delivery_id)
    select mm.meter_id, new.delivery_id from postmeter.meter_metric mm where mm.id = new.meter_metric_id;
    return null;
end
$$;
comment on function postmeter.moved_by_allocation() is
    'Trigger of allocation: a correction of what was cut long ago takes the meter''s proof back.';
-- what goes into an open hour moves nothing before its cut: only the condition is looked at
create trigger moved after insert on postmeter.allocation
    for each row when (new.round < 0) execute function postmeter.moved_by_allocation();

create function postmeter.prove_moved_allocation() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- where a cut has counted it; what leaves an open hour is nothing to its meter
    insert into postmeter.balance_moved (meter_id, delivery_id)
    select mm.meter_id, x.delivery_id
    from (values (old.delivery_id, old.meter_metric_id, old.round), (new.delivery_id, new.meter_metric_id, new.round))
        x(delivery_id, metric, round)
    join postmeter.meter_metric mm on mm.id = x.metric
    where not exists (select from postmeter.delivery d where d.id = x.delivery_id and d.status = 'open'
        and d.round = x.round);
    insert into postmeter.usage_moved (slice) values (left(old.usage_id::text, 8));
    return null;
end
$$;
comment on function postmeter.prove_moved_allocation() is
    'Trigger of allocation: what counts elsewhere from now on, or nowhere, takes the proofs of its meters and of '
    'its usage back.';
create trigger went after delete or update on postmeter.allocation
    for each row execute function postmeter.prove_moved_allocation();

create function postmeter.moved_by_carry() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into postmeter.balance_anew (meter_id)
    select distinct mm.meter_id from written w join postmeter.meter_metric mm on mm.id = w.meter_metric_id
    order by 1
    on conflict do nothing;
    return null;
end
$$;
comment on function postmeter.moved_by_carry() is
    'Trigger of ledger_carry: of a month that is dropped, every meter is proven again from what it came to.';
create trigger moved after insert on postmeter.ledger_carry
    referencing new table as written for each statement execute function postmeter.moved_by_carry();

create function postmeter.prove_moved_usage() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into postmeter.usage_moved (slice) select distinct left(w.usage_id::text, 8) from went w;
    return null;
end
$$;
comment on function postmeter.prove_moved_usage() is
    'Trigger of held: what leaves it must be somewhere else, and its slice is proven again. A row for each 66 '
    'seconds of recording that a statement touches.';
-- What leaves the outbox, the statements that take it mark: a trigger would read each entry once more, of repeats too.
create trigger went after delete on postmeter.held
    referencing old table as went for each statement execute function postmeter.prove_moved_usage();
