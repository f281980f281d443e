-- 0050_pre_proof: the balance is proven from what was written since the last proof, and everything is read again in turn.
-- programs: from 0022
-- lock: share row exclusive on allocation, for a moment: a trigger
-- lock: access exclusive on balance, for a moment: the same view over what is proven too
-- lock: access exclusive on balance_check, grows with its rows: columns and a check of its one row
-- lock: share row exclusive on cut, for a moment: a trigger
-- lock: share row exclusive on delivery, for a moment: a trigger
-- lock: share row exclusive on held, for a moment: a trigger
-- lock: share row exclusive on ledger_carry, for a moment: a trigger
-- lock: share row exclusive on meter, grows with its rows: a trigger, and all of them are to be proven
-- lock: share row exclusive on meter_metric, for a moment: a trigger
-- lock: share row exclusive on part, for a moment: a trigger
-- lock: access exclusive on usage_balance, for a moment: the same view over what is proven too

-- the equation ---------------------------------------------------------------------------------------------------------
-- There is one: what a remittance leaves on a meter, added up, is what the meter holds. The view balance adds it up from
-- the ledger, a proof from what it has kept of remittances that nobody has written to since.

create view postmeter.meter_balance as
with factor as not materialized ( -- so that one meter_id is looked for in its own rows only
    select mm.meter_id, mm.covered,
           mm.factor_numerator * (postmeter.lcm_of(mm.factor_denominator::numeric) over (partition by mm.meter_id) / mm.factor_denominator) as units,
           postmeter.lcm_of(mm.factor_denominator::numeric) over (partition by mm.meter_id) as denominator
    from postmeter.meter_metric mm
), covered as (
    select f.meter_id, sum(f.covered * f.units) as covered, max(f.denominator) as denominator from factor f group by 1
)
select c.meter_id, m.destination_id, m.month, c.denominator, c.covered, m.carried * (c.denominator / m.denominator) as carried,
       c.covered + m.carried * (c.denominator / m.denominator) as holds
from covered c
join postmeter.meter m on m.id = c.meter_id;
comment on view postmeter.meter_balance is 'One side of the balance: what a meter holds, in billing units x denominator. The other: remittance_balance.';
comment on column postmeter.meter_balance.meter_id is 'The meter.';
comment on column postmeter.meter_balance.destination_id is 'Its destination.';
comment on column postmeter.meter_balance.month is 'First day of its billing month.';
comment on column postmeter.meter_balance.denominator is 'Common denominator of the meter''s factors.';
comment on column postmeter.meter_balance.covered is 'Paid for by contracts.';
comment on column postmeter.meter_balance.carried is 'A remainder not billed yet, or (below zero) credit.';
comment on column postmeter.meter_balance.holds is 'covered + carried: what its remittances must leave.';

create view postmeter.remittance_balance as
with factor as not materialized (
    select mm.id, mm.meter_id,
           mm.factor_numerator * (postmeter.lcm_of(mm.factor_denominator::numeric) over (partition by mm.meter_id) / mm.factor_denominator) as units,
           postmeter.lcm_of(mm.factor_denominator::numeric) over (partition by mm.meter_id) as denominator
    from postmeter.meter_metric mm
), counted as (
    -- the remittances of the meter, and those of other keys or later months of which it is a part
    select d.meter_id, d.id, d.status, d.round from postmeter.delivery d
    union all
    select p.meter_id, d.id, d.status, d.round
    from postmeter.part p
    join postmeter.delivery d on d.id = p.delivery_id and d.meter_id <> p.meter_id
), line as (
    select f.meter_id, f.denominator, d.id as delivery_id, d.status, sum(u.quantity * f.units) as recorded,
           coalesce(sum(a.quantity * f.units) filter (where d.status = 'open' and a.round = d.round), 0) as open,
           0::numeric as billed, 0::numeric as shown
    from factor f
    join counted d on d.meter_id = f.meter_id
    join postmeter.allocation a on a.delivery_id = d.id and a.meter_metric_id = f.id
    join postmeter.usage u on u.id = a.usage_id
    group by 1, 2, 3, 4
    union all
    -- what dropped months of the ledger came to
    select f.meter_id, f.denominator, c.delivery_id, d.status, sum(c.quantity * f.units), 0, 0, 0
    from postmeter.ledger_carry c
    join factor f on f.id = c.meter_metric_id
    left join postmeter.delivery d on d.id = c.delivery_id
    group by 1, 2, 3, 4
    union all
    select f.meter_id, f.denominator, c.delivery_id, d.status, 0, 0, sum(c.to_bill),
           sum(case when d.status = 'conflict' and d.shown_quantity is not null and d.quantity > 0
                    then least(c.to_bill, c.to_bill * d.shown_quantity / d.quantity) else 0 end)
    from (select distinct x.meter_id, x.denominator from factor x) f
    join postmeter.cut c on c.meter_id = f.meter_id
    join postmeter.delivery d on d.id = c.delivery_id
    -- what was released is billed with another remittance
    where d.status not in ('open', 'nothing_due', 'released')
    group by 1, 2, 3, 4
)
select l.meter_id, l.delivery_id, l.status, l.denominator, sum(l.recorded) as recorded, sum(l.open) as open, sum(l.billed) as billed,
       sum(l.shown) as shown, sum(l.recorded) - sum(l.open) - sum(l.billed) * l.denominator as remains
from line l
group by l.meter_id, l.delivery_id, l.status, l.denominator;
comment on view postmeter.remittance_balance is 'One side of the balance: what each remittance leaves on a meter that it counts on. The other: meter_balance. Ask it by meter_id, or by meter_id and delivery_id.';
comment on column postmeter.remittance_balance.meter_id is 'The meter.';
comment on column postmeter.remittance_balance.delivery_id is 'The remittance.';
comment on column postmeter.remittance_balance.status is 'Its status.';
comment on column postmeter.remittance_balance.denominator is 'Common denominator of the meter''s factors.';
comment on column postmeter.remittance_balance.recorded is 'Usage allocated to it on this meter, in billing units x denominator.';
comment on column postmeter.remittance_balance.open is 'Of this, in its hour while that is open.';
comment on column postmeter.remittance_balance.billed is 'Billing units that it bills for this meter; what was released is billed elsewhere.';
comment on column postmeter.remittance_balance.shown is 'Of a conflict, the billing units that they hold.';
comment on column postmeter.remittance_balance.remains is 'recorded - open - billed x denominator: what it leaves on the meter, as cover, remainder or credit.';

create or replace view postmeter.balance as
with summed as (
    select r.meter_id, sum(r.recorded) as recorded, sum(r.open) as open, sum(r.remains) as remains,
           sum(r.billed) filter (where r.status in ('due', 'in_flight')) as due,
           sum(r.billed) filter (where r.status = 'unknown') as unknown,
           sum(r.billed) filter (where r.status = 'accepted') as accepted,
           sum(r.billed) filter (where r.status = 'held') as held,
           sum(r.billed) filter (where r.status = 'rejected') as rejected,
           sum(r.billed) filter (where r.status = 'expired') as expired,
           sum(r.billed) filter (where r.status = 'conflict') as conflict,
           sum(r.billed) filter (where r.status = 'written_off') as written_off,
           sum(r.billed) filter (where r.status = 'dry_run') as dry_run,
           sum(r.shown) as shown
    from postmeter.remittance_balance r group by 1
)
select t.name as destination, m.buyer, m.dimension, m.month, m.id as meter_id, c.denominator,
       trim_scale(coalesce(r.recorded, 0)) as recorded, trim_scale(coalesce(r.open, 0)) as open,
       trim_scale(coalesce(r.due, 0) * c.denominator) as due, trim_scale(coalesce(r.unknown, 0) * c.denominator) as unknown,
       trim_scale((coalesce(r.accepted, 0) + coalesce(r.shown, 0)) * c.denominator) as accepted,
       trim_scale(coalesce(r.held, 0) * c.denominator) as held, trim_scale(coalesce(r.rejected, 0) * c.denominator) as rejected,
       trim_scale(coalesce(r.expired, 0) * c.denominator) as expired,
       trim_scale((coalesce(r.conflict, 0) - coalesce(r.shown, 0)) * c.denominator) as conflict,
       trim_scale(coalesce(r.written_off, 0) * c.denominator) as written_off,
       trim_scale(coalesce(r.dry_run, 0) * c.denominator) as dry_run,
       trim_scale(c.covered) as covered, trim_scale(c.carried) as carried,
       trim_scale(coalesce(r.remains, 0) - c.holds) as difference,
       t.shadow_of is not null as shadow
from postmeter.meter m
join postmeter.destination t on t.id = m.destination_id
join postmeter.meter_balance c on c.meter_id = m.id
left join summed r on r.meter_id = m.id;

create view postmeter.usage_place as
select 'recorded' as place, u.id as usage_id, u.org, u.product, u.metric, u.quantity, 1 as usages, u.quantity as left_over, 1 as left_usages
from postmeter.usage u
union all
select 'waiting', o.id, o.org, o.product, o.metric, o.quantity, 1, -o.quantity, -1 from postmeter.outbox o
union all
select 'held', h.usage_id, h.org, h.product collate "default", h.metric, h.quantity, 1, -h.quantity, -1 from postmeter.held h
union all
select 'exempt', u.id, u.org, u.product, u.metric, u.quantity, 1, -u.quantity, -1
from postmeter.exempted x join postmeter.usage u on u.id = x.usage_id
union all
select 'written_off', u.id, u.org, u.product, u.metric, u.quantity, 1, -u.quantity, -1
from postmeter.usage_written_off x join postmeter.usage u on u.id = x.usage_id
union all
select 'allocated', a.usage_id, s.org, mm.product collate "default", mm.metric collate "default", a.quantity, 1, -a.quantity, -1
from postmeter.allocation a
join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
join postmeter.subscription s on s.id = a.subscription_id
join postmeter.meter_metric mm on mm.id = a.meter_metric_id;
comment on view postmeter.usage_place is 'Every usage as it was recorded, and again in the one place where it is: left_over adds up to zero over any usages, and so does left_usages. Ask it by a range of usage_id. Of dropped months: ledger_carry.';
comment on column postmeter.usage_place.place is 'recorded, and where it is: waiting, held, exempt, written_off or allocated (by a live destination).';
comment on column postmeter.usage_place.usage_id is 'The usage.';
comment on column postmeter.usage_place.org is 'The org.';
comment on column postmeter.usage_place.product is 'Our product.';
comment on column postmeter.usage_place.metric is 'Our metric.';
comment on column postmeter.usage_place.quantity is 'How much, in units of the metric.';
comment on column postmeter.usage_place.usages is '1.';
comment on column postmeter.usage_place.left_over is 'The quantity if it is recorded, and less the quantity where it is.';
comment on column postmeter.usage_place.left_usages is '1 if it is recorded, -1 where it is.';

create view postmeter.carried_place as
select c.place, c.month, c.org, c.product, c.metric, c.quantity, c.usages,
       case when c.place = 'recorded' then c.quantity else -c.quantity end as left_over,
       case when c.place = 'recorded' then c.usages else -c.usages end as left_usages
from postmeter.ledger_carry c
left join postmeter.destination t on t.id = c.destination_id
where t.shadow_of is null;
comment on view postmeter.carried_place is 'What usage_place came to of months of the ledger that were dropped.';
comment on column postmeter.carried_place.place is 'As in usage_place.';
comment on column postmeter.carried_place.month is 'The dropped month.';
comment on column postmeter.carried_place.org is 'The org.';
comment on column postmeter.carried_place.product is 'Our product.';
comment on column postmeter.carried_place.metric is 'Our metric.';
comment on column postmeter.carried_place.quantity is 'How much, in units of the metric.';
comment on column postmeter.carried_place.usages is 'How many usages.';
comment on column postmeter.carried_place.left_over is 'The quantity if it was recorded, and less the quantity where it was.';
comment on column postmeter.carried_place.left_usages is 'The same of how many.';

create or replace view postmeter.usage_balance as
select r.org, r.product, r.metric,
       coalesce(sum(r.usages) filter (where r.place = 'recorded'), 0)::bigint as usages,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'recorded'), 0)) as recorded,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'waiting'), 0)) as waiting,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'held'), 0)) as held,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'exempt'), 0)) as exempt,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'written_off'), 0)) as written_off,
       trim_scale(coalesce(sum(r.quantity) filter (where r.place = 'allocated'), 0)) as allocated,
       trim_scale(sum(r.left_over)) as difference,
       sum(r.left_usages)::bigint as difference_usages
from (select p.place, p.org, p.product, p.metric, p.quantity, p.usages::bigint, p.left_over, p.left_usages::bigint from postmeter.usage_place p
      union all
      select p.place, p.org, p.product, p.metric, p.quantity, p.usages, p.left_over, p.left_usages from postmeter.carried_place p) r
group by 1, 2, 3;

-- what is kept ---------------------------------------------------------------------------------------------------------

create table postmeter.proven_remittance (
    meter_id    bigint  not null,
    delivery_id bigint  not null,
    denominator numeric not null,
    remains     numeric not null,
    primary key (meter_id, delivery_id)
);
comment on table postmeter.proven_remittance is 'What a remittance left on a meter when it was read last, if it was not nothing (remittance_balance.remains).';
comment on column postmeter.proven_remittance.meter_id is 'The meter.';
comment on column postmeter.proven_remittance.delivery_id is 'The remittance.';
comment on column postmeter.proven_remittance.denominator is 'The meter''s denominator at that time.';
comment on column postmeter.proven_remittance.remains is 'In billing units x that denominator.';

create table postmeter.proven_meter (
    meter_id    bigint  not null primary key,
    denominator numeric not null,
    remains     numeric not null,
    difference  numeric,
    proven_at   timestamptz,
    read_at     timestamptz
);
create index proven_meter_open on postmeter.proven_meter (meter_id) where difference <> 0;
comment on table postmeter.proven_meter is 'The proof of each meter. A write to it or to a remittance of it takes the proof back: the meter has a row in balance_moved until it is proven again.';
comment on column postmeter.proven_meter.meter_id is 'The meter.';
comment on column postmeter.proven_meter.denominator is 'The meter''s denominator when it was proven.';
comment on column postmeter.proven_meter.remains is 'What all its remittances leave, in billing units x that denominator.';
comment on column postmeter.proven_meter.difference is 'remains less what the meter held then (meter_balance.holds); null: not proven yet.';
comment on column postmeter.proven_meter.proven_at is 'As of when, in real time.';
comment on column postmeter.proven_meter.read_at is 'When all its remittances were read last, in real time; null: from its first on as they were written.';

create table postmeter.balance_moved (
    meter_id    bigint not null,
    delivery_id bigint
);
alter table postmeter.balance_moved replica identity full;
create index balance_moved_by_meter on postmeter.balance_moved (meter_id);
comment on table postmeter.balance_moved is 'Meters, and remittances on them, that were written to and not proven since. Written by triggers in the writer''s own transaction: nobody proves before it what is committed later. One meter may stand here often.';
comment on column postmeter.balance_moved.meter_id is 'The meter.';
comment on column postmeter.balance_moved.delivery_id is 'The remittance; null: only the meter itself.';

create table postmeter.balance_anew (
    meter_id bigint not null primary key,
    after    bigint not null default 0,
    asked_at timestamptz not null default clock_timestamp()
);
comment on table postmeter.balance_anew is 'Meters whose remittances are all to be read again: in turn, on request, after commits were lost, and when a proof did not close.';
comment on column postmeter.balance_anew.meter_id is 'The meter.';
comment on column postmeter.balance_anew.after is 'Its remittances up to this one have been read again.';
comment on column postmeter.balance_anew.asked_at is 'Since when, in real time.';

create table postmeter.usage_moved (
    slice text not null collate "C"
);
alter table postmeter.usage_moved replica identity full;
create index usage_moved_by_slice on postmeter.usage_moved (slice);
comment on table postmeter.usage_moved is 'Slices of usage of which something left the outbox or was held no longer, and that were not proven since. Written in the writer''s own transaction, by the fold that takes entries and by triggers. One slice may stand here often.';
comment on column postmeter.usage_moved.slice is 'The first eight digits of the usages'' ids: 66 seconds of recording.';

create table postmeter.usage_open (
    first    text not null collate "C",
    last     text not null collate "C",
    open     bigint not null,
    example  text,
    found_at timestamptz not null default clock_timestamp(),
    primary key (first, last)
);
comment on table postmeter.usage_open is 'Slices of usage that did not add up when they were read last. Every check reads them again.';
comment on column postmeter.usage_open.first is 'The first slice; carried: dropped months.';
comment on column postmeter.usage_open.last is 'The last slice.';
comment on column postmeter.usage_open.open is 'Orgs'' metrics of which usage is in no place, or in two.';
comment on column postmeter.usage_open.example is 'One of them.';
comment on column postmeter.usage_open.found_at is 'When, in real time.';

create table postmeter.balance_gate (
    one boolean not null primary key
);
comment on table postmeter.balance_gate is 'Empty. Whoever proves locks it for a transaction: one proves at a time, and sees what the one before kept.';
comment on column postmeter.balance_gate.one is 'There is no row.';

-- one row
alter table postmeter.balance_check
    add column break_id bigint not null default 0,
    -- squawk-ignore adding-field-with-default
    add column since timestamptz not null default clock_timestamp(),
    -- squawk-ignore adding-field-with-default
    add column round_at timestamptz not null default clock_timestamp(),
    -- squawk-ignore adding-field-with-default
    add column round_ends_at timestamptz not null default clock_timestamp(),
    add column meters_after bigint default 0,
    add column usage_after text collate "C" default '',
    add column round_seconds double precision not null default 0,
    add column whole_seconds double precision,
    add column whole_from timestamptz,
    add column whole_until timestamptz,
    -- squawk-ignore constraint-missing-not-valid
    add constraint balance_check_turn check (num_nulls(whole_from, whole_until, whole_seconds) in (0, 3));
comment on column postmeter.balance_check.break_id is 'The last timeline_break after which everything was asked to be read again.';
comment on column postmeter.balance_check.since is 'Since when the balance is proven this way.';
comment on column postmeter.balance_check.round_at is 'Since when the whole ledger is being read again; later than now: from then on. Real time.';
comment on column postmeter.balance_check.round_ends_at is 'By when it is to be read: as much of it is read as of this time has passed.';
comment on column postmeter.balance_check.meters_after is 'Meters up to this one have been read again; null: all.';
comment on column postmeter.balance_check.usage_after is 'Usage up to this slice has been read again; null: all.';
comment on column postmeter.balance_check.round_seconds is 'How long that has taken so far.';
comment on column postmeter.balance_check.whole_seconds is 'How long it took the last time; null: not yet.';
comment on column postmeter.balance_check.whole_from is 'The whole ledger was read between this time and whole_until, the last time it was; null: not yet.';
comment on column postmeter.balance_check.whole_until is 'The end of that.';
comment on column postmeter.balance_check.checked_at is 'As of when everything that had been written was proven, in real time; null: never.';
comment on column postmeter.balance_check.seconds is 'How long the last check took, also one that was given up; without what was read again in turn.';
comment on table postmeter.balance_check is 'What the last check of the balance found. One row; one worker of the fleet checks at a time.';

create function postmeter.when_said(moment timestamptz) returns text
language sql stable parallel safe
begin atomic
    select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
end;
comment on function postmeter.when_said(timestamptz) is 'A time as people read it, in UTC, to the second.';

-- who writes says so ---------------------------------------------------------------------------------------------------

create function postmeter.moved_by_cut() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into postmeter.balance_moved (meter_id, delivery_id) select w.meter_id, w.delivery_id from written w;
    return null;
end
$$;
comment on function postmeter.moved_by_cut() is 'Trigger of cut: takes the proof of its meters back.';
create trigger moved after insert on postmeter.cut referencing new table as written
    for each statement execute function postmeter.moved_by_cut();

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
create trigger moved after update on postmeter.meter for each row
    when (old.id is distinct from new.id or old.carried is distinct from new.carried or old.denominator is distinct from new.denominator) execute function postmeter.moved_by_meter();
create trigger moved_whole after insert or delete on postmeter.meter for each row execute function postmeter.moved_by_meter();

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
comment on function postmeter.moved_by_metric() is 'Trigger of meter_metric: takes the meter''s proof back; where a factor changes, everything of it is read again.';
create trigger moved after update on postmeter.meter_metric for each row
    when (old.id is distinct from new.id or old.meter_id is distinct from new.meter_id or old.covered is distinct from new.covered
          or old.factor_numerator is distinct from new.factor_numerator or old.factor_denominator is distinct from new.factor_denominator)
    execute function postmeter.moved_by_metric();
create trigger moved_whole after delete on postmeter.meter_metric for each row execute function postmeter.moved_by_metric();

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
    where x.meter_id is not null;
    return null;
end
$$;
comment on function postmeter.moved_by_delivery() is 'Trigger of delivery: takes the proof of every meter that it counts on back.';
-- A cut writes its own rows, which say so: its change of an open hour (one round more) is left out here, and so is every
-- change after which the remittance bills what it billed before.
create trigger moved after update on postmeter.delivery for each row
    when (old.meter_id is distinct from new.meter_id or new.round < old.round
          or (old.status in ('open', 'nothing_due', 'released')) <> (new.status in ('open', 'nothing_due', 'released'))
             and not (old.status = 'open' and new.round = old.round + 1)
          or old.status <> 'open' and new.status = 'open')
    execute function postmeter.moved_by_delivery();
create trigger moved_whole after delete on postmeter.delivery for each row execute function postmeter.moved_by_delivery();

create function postmeter.moved_by_part() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op <> 'INSERT' then
        insert into postmeter.balance_moved (meter_id, delivery_id) values (old.meter_id, old.delivery_id);
    end if;
    if tg_op <> 'DELETE' then
        insert into postmeter.balance_moved (meter_id, delivery_id) values (new.meter_id, new.delivery_id);
    end if;
    return null;
end
$$;
comment on function postmeter.moved_by_part() is 'Trigger of part: takes the meter''s proof back.';
create trigger moved after insert or update or delete on postmeter.part for each row execute function postmeter.moved_by_part();

create function postmeter.moved_by_allocation() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into postmeter.balance_moved (meter_id, delivery_id)
    select mm.meter_id, new.delivery_id from postmeter.meter_metric mm where mm.id = new.meter_metric_id;
    return null;
end
$$;
comment on function postmeter.moved_by_allocation() is 'Trigger of allocation: a correction of what was cut long ago takes the meter''s proof back.';
-- what goes into an open hour moves nothing before its cut: only the condition is looked at
create trigger moved after insert on postmeter.allocation for each row when (new.round < 0) execute function postmeter.moved_by_allocation();

create function postmeter.allocation_went() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- where a cut has counted it; what leaves an open hour is nothing to its meter
    insert into postmeter.balance_moved (meter_id, delivery_id)
    select mm.meter_id, x.delivery_id
    from (values (old.delivery_id, old.meter_metric_id, old.round), (new.delivery_id, new.meter_metric_id, new.round)) x(delivery_id, metric, round)
    join postmeter.meter_metric mm on mm.id = x.metric
    where not exists (select from postmeter.delivery d where d.id = x.delivery_id and d.status = 'open' and d.round = x.round);
    insert into postmeter.usage_moved (slice) values (left(old.usage_id::text, 8));
    return null;
end
$$;
comment on function postmeter.allocation_went() is 'Trigger of allocation: what counts elsewhere from now on, or nowhere, takes the proofs of its meters and of its usage back.';
create trigger went after update or delete on postmeter.allocation for each row execute function postmeter.allocation_went();

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
comment on function postmeter.moved_by_carry() is 'Trigger of ledger_carry: of a month that is dropped, every meter is proven again from what it came to.';
create trigger moved after insert on postmeter.ledger_carry referencing new table as written
    for each statement execute function postmeter.moved_by_carry();

create function postmeter.usage_went() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into postmeter.usage_moved (slice) select distinct left(w.usage_id::text, 8) from went w;
    return null;
end
$$;
comment on function postmeter.usage_went() is 'Trigger of held: what leaves it must be somewhere else, and its slice is proven again. A row for each 66 seconds of recording that a statement touches.';
-- What leaves the outbox, the statements that take it mark: a trigger would read each entry once more, of repeats too.
create trigger went after delete on postmeter.held referencing old table as went
    for each statement execute function postmeter.usage_went();

create function postmeter.prove_balance_anew() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    asked bigint;
begin
    insert into postmeter.balance_anew (meter_id)
    select m.id from postmeter.meter m union select p.meter_id from postmeter.proven_meter p order by 1
    on conflict (meter_id) do update set after = 0, asked_at = excluded.asked_at;
    get diagnostics asked = row_count;
    update postmeter.balance_check b
    set round_at = clock_timestamp(), round_ends_at = clock_timestamp(), meters_after = null, usage_after = '', round_seconds = 0, next_at = '-infinity';
    return asked;
end
$$;
comment on function postmeter.prove_balance_anew() is 'Takes every proof back: all meters and all usage are read again from the beginning, by the workers'' checks or by postmeter balance --prove. Returns how many meters.';

-- proving --------------------------------------------------------------------------------------------------------------

create function postmeter.check_proof_state() returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') = 'read committed' then
        raise exception 'a proof needs one moment for all it reads' using errcode = '25000', hint = 'begin isolation level repeatable read; lock table postmeter.balance_gate';
    end if;
end
$$;
comment on function postmeter.check_proof_state() is 'Refuses to prove where each statement sees another moment.';

create function postmeter.read_remittances(meters bigint[], deliveries bigint[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
declare
    pairs bigint;
begin
    with pair as materialized (
        select distinct p.meter_id, p.delivery_id from unnest(meters, deliveries) p(meter_id, delivery_id)
    ), fresh as materialized (
        select r.meter_id, r.delivery_id, r.denominator, r.remains
        from postmeter.remittance_balance r
        where r.meter_id = any (meters) and r.delivery_id = any (deliveries)
    ), change as materialized (
        select p.meter_id, p.delivery_id, f.denominator, coalesce(f.remains, 0) as remains,
               k.denominator as denominator_before, coalesce(k.remains, 0) as remains_before
        from pair p
        left join fresh f on f.meter_id = p.meter_id and f.delivery_id = p.delivery_id
        left join postmeter.proven_remittance k on k.meter_id = p.meter_id and k.delivery_id = p.delivery_id
    ), gone as (
        delete from postmeter.proven_remittance k using change c
        where k.meter_id = c.meter_id and k.delivery_id = c.delivery_id and c.remains = 0
    ), kept as (
        insert into postmeter.proven_remittance (meter_id, delivery_id, denominator, remains)
        select c.meter_id, c.delivery_id, c.denominator, trim_scale(c.remains) from change c where c.remains <> 0
        on conflict (meter_id, delivery_id) do update set denominator = excluded.denominator, remains = excluded.remains
    ), meter as materialized (
        select b.meter_id, b.denominator from postmeter.meter_balance b where b.meter_id = any (meters)
    ), total as (
        select x.meter_id, x.denominator,
               sum(x.remains * (x.denominator / coalesce(x.denominator_now, x.denominator))
                   - x.remains_before * (x.denominator / coalesce(x.denominator_before, x.denominator))) as more
        from (select c.meter_id, c.remains, c.remains_before, c.denominator_before, c.denominator as denominator_now,
                     -- a meter that is gone: as it was
                     coalesce(m.denominator, (select max(k.denominator) from postmeter.proven_remittance k where k.meter_id = c.meter_id), 1) as denominator
              from change c left join meter m on m.meter_id = c.meter_id) x
        group by 1, 2
    ), totals as (
        insert into postmeter.proven_meter as p (meter_id, denominator, remains)
        select t.meter_id, t.denominator, t.more from total t
        on conflict (meter_id) do update
        set remains = trim_scale(p.remains * (excluded.denominator / p.denominator) + excluded.remains), denominator = excluded.denominator
    )
    select count(*) into pairs from pair;
    return pairs;
end
$$;
comment on function postmeter.read_remittances(bigint[], bigint[]) is 'Reads what these remittances leave on these meters, pair by pair, and keeps it.';

create function postmeter.prove_moved(meters bigint[]) returns table (remittances bigint, proven bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    on_meters  bigint[];
    of_these   bigint[];
begin
    perform postmeter.check_proof_state();
    with gone as (
        delete from postmeter.balance_moved m where m.meter_id = any (prove_moved.meters) returning m.meter_id, m.delivery_id
    )
    select array_agg(g.meter_id), array_agg(g.delivery_id) into on_meters, of_these
    from (select distinct x.meter_id, x.delivery_id from gone x where x.delivery_id is not null) g;
    remittances := postmeter.read_remittances(on_meters, of_these);
    insert into postmeter.proven_meter (meter_id, denominator, remains)
    select m.id, 1, 0 from unnest(prove_moved.meters) m(id)
    on conflict do nothing;
    with meter as materialized (
        select b.meter_id, b.denominator, b.holds from postmeter.meter_balance b where b.meter_id = any (prove_moved.meters)
    ), closed as materialized (
        select p.meter_id, p.remains * (coalesce(b.denominator, p.denominator) / p.denominator) - coalesce(b.holds, 0) as difference
        from postmeter.proven_meter p
        left join meter b on b.meter_id = p.meter_id
        where p.meter_id = any (prove_moved.meters)
          and not exists (select from postmeter.balance_anew w where w.meter_id = p.meter_id)
    ), suspect as (
        -- nobody is accused by what was kept: all of it is read again first
        insert into postmeter.balance_anew (meter_id) select c.meter_id from closed c where c.difference <> 0
    ), written as (
        update postmeter.proven_meter p set difference = 0, proven_at = clock_timestamp()
        from closed c where p.meter_id = c.meter_id and c.difference = 0
        returning 1
    )
    select count(*) into proven from written;
    return next;
end
$$;
comment on function postmeter.prove_moved(bigint[]) is 'Proves these meters from what was written since and what is kept of the rest. One whose balance does not close that way is read again whole before anybody says so.';

create function postmeter.prove_anew(meters bigint[], most integer) returns table (remittances bigint, proven bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
declare
    on_meters bigint[];
    of_these  bigint[];
    finished  bigint[];
begin
    perform postmeter.check_proof_state();
    select array_agg(w.meter_id), array_agg(x.delivery_id) into on_meters, of_these
    from postmeter.balance_anew w
    cross join lateral (
        select y.delivery_id
        from (select d.id as delivery_id from postmeter.delivery d where d.meter_id = w.meter_id and d.id > w.after
              union select p.delivery_id from postmeter.part p where p.meter_id = w.meter_id and p.delivery_id > w.after
              union select c.delivery_id from postmeter.cut c where c.meter_id = w.meter_id and c.delivery_id > w.after
              union select k.delivery_id from postmeter.proven_remittance k where k.meter_id = w.meter_id and k.delivery_id > w.after) y
        order by y.delivery_id limit most) x
    where w.meter_id = any (prove_anew.meters);
    remittances := postmeter.read_remittances(on_meters, of_these);
    update postmeter.balance_anew w set after = x.last
    from (select p.meter_id, max(p.delivery_id) as last from unnest(on_meters, of_these) p(meter_id, delivery_id) group by 1) x
    where w.meter_id = x.meter_id;
    with finished_now as (
        delete from postmeter.balance_anew w
        where w.meter_id = any (prove_anew.meters)
          and (select count(*) from unnest(on_meters) p(meter_id) where p.meter_id = w.meter_id) < most
        returning w.meter_id
    )
    select array_agg(f.meter_id) into finished from finished_now f;
    -- everything of these has been read: what was kept of the sum does not count any more
    with meter as materialized (
        select b.meter_id, b.denominator, b.holds from postmeter.meter_balance b where b.meter_id = any (finished)
    ), total as materialized (
        select f.id, coalesce(b.denominator, 1) as denominator, coalesce(b.holds, 0) as holds,
               (select coalesce(sum(k.remains * (coalesce(b.denominator, 1) / k.denominator)), 0)
                from postmeter.proven_remittance k where k.meter_id = f.id) as remains,
               -- what is marked is proven with its mark
               not exists (select from postmeter.balance_moved v where v.meter_id = f.id) as is_all
        from unnest(finished) f(id)
        left join meter b on b.meter_id = f.id
    )
    insert into postmeter.proven_meter as p (meter_id, denominator, remains, difference, proven_at, read_at)
    select t.id, t.denominator, t.remains, case when t.is_all then trim_scale(t.remains - t.holds) end, case when t.is_all then clock_timestamp() end,
           clock_timestamp()
    from total t
    on conflict (meter_id) do update
    set denominator = excluded.denominator, remains = excluded.remains, read_at = excluded.read_at,
        difference = coalesce(excluded.difference, p.difference), proven_at = coalesce(excluded.proven_at, p.proven_at);
    get diagnostics proven = row_count;
    return next;
end
$$;
comment on function postmeter.prove_anew(bigint[], integer) is 'Reads all remittances of these meters again, at most so many of each at a time; a meter of which all were read is proven from them.';

create function postmeter.prove_slices(slices text[]) returns table (orgs bigint, open bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
    run record;
    n   bigint;
    bad bigint;
    who text;
begin
    orgs := 0;
    open := 0;
    -- neighbours are read together
    for run in
        select min(x.slice) as first, max(x.slice) as last
        from (select s.slice, ('x' || s.slice)::bit(32)::bigint - row_number() over (order by s.slice) as run
              from (select distinct u.slice collate "C" as slice from unnest(slices) u(slice)) s) x
        group by x.run order by 1
    loop
        select * into n, bad, who from postmeter.prove_usage(run.first, run.last);
        orgs := orgs + n;
        open := open + bad;
    end loop;
    return next;
end
$$;
comment on function postmeter.prove_slices(text[]) is 'Proves that all usage of these slices is somewhere.';

create function postmeter.prove_usage(first text, last text, out checked bigint, out open bigint, out example text)
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
    perform postmeter.check_proof_state();
    if first !~ '^[0-9a-f]{8}$' or last !~ '^[0-9a-f]{8}$' then
        raise exception 'a slice has eight digits' using errcode = '22023';
    end if;
    delete from postmeter.usage_moved m where m.slice >= prove_usage.first collate "C" and m.slice <= prove_usage.last collate "C";
    -- written out, so that only partitions that have such usage are looked at, or waited for
    execute format($q$
        select count(*), count(*) filter (where b.left_over <> 0 or b.left_usages <> 0),
               (array_agg(format('%%s %%s %%s: %%s', b.org, b.product, b.metric, trim_scale(b.left_over)) order by b.org)
                filter (where b.left_over <> 0 or b.left_usages <> 0))[1]
        from (select p.org, p.product, p.metric, sum(p.left_over) as left_over, sum(p.left_usages) as left_usages
              from postmeter.usage_place p where p.usage_id >= %L::uuid and p.usage_id <= %L::uuid group by 1, 2, 3) b $q$,
        first || '-0000-0000-0000-000000000000', last || '-ffff-ffff-ffff-ffffffffffff')
    into checked, open, example;
    delete from postmeter.usage_open o where o.first >= prove_usage.first collate "C" and o.last <= prove_usage.last collate "C";
    insert into postmeter.usage_open (first, last, open, example)
    select prove_usage.first, prove_usage.last, prove_usage.open, prove_usage.example
    where prove_usage.open > 0
      and not exists (select from postmeter.usage_open o where o.first <= prove_usage.first collate "C" and o.last >= prove_usage.last collate "C");
end
$$;
comment on function postmeter.prove_usage(text, text) is 'Proves that all usage of these slices, and of those between them, is somewhere (usage_place), and keeps it if it is not.';

create function postmeter.prove_carried() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    bad bigint;
    who text;
begin
    select count(*), min(format('%s %s %s of %s: %s', b.org, b.product, b.metric, to_char(b.month, 'YYYY-MM'), trim_scale(b.left_over)))
    into bad, who
    from (select p.month, p.org, p.product, p.metric, sum(p.left_over) as left_over, sum(p.left_usages) as left_usages
          from postmeter.carried_place p group by 1, 2, 3, 4) b
    where b.left_over <> 0 or b.left_usages <> 0;
    delete from postmeter.usage_open o where o.first = 'carried';
    insert into postmeter.usage_open (first, last, open, example) select 'carried', 'carried', bad, who where bad > 0;
    return bad;
end
$$;
comment on function postmeter.prove_carried() is 'Proves that all usage of dropped months was somewhere (carried_place), and keeps it if it was not. Returns how many orgs'' metrics do not add up.';

create function postmeter.ask_meters_anew(many integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    asked bigint[];
begin
    asked := array(
        select x.id from (
            (select m.id from postmeter.meter m, postmeter.balance_check b where m.id > b.meters_after order by 1 limit many)
            union
            -- one that is gone is missed
            (select p.meter_id from postmeter.proven_meter p, postmeter.balance_check b where p.meter_id > b.meters_after order by 1 limit many)) x
        order by 1 limit many);
    insert into postmeter.balance_anew (meter_id) select a.id from unnest(asked) a(id) on conflict do nothing;
    -- null: that was all
    update postmeter.balance_check b set meters_after = case when cardinality(asked) = many then asked[many] end;
    return cardinality(asked);
end
$$;
comment on function postmeter.ask_meters_anew(integer) is 'The next so many meters whose turn it is to be read again. Returns how many.';

create function postmeter.next_usage_anew(many integer, out first text, out last text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    after text := (select b.usage_after from postmeter.balance_check b);
begin
    if after is null or after = 'ffffffff' then
        return;
    end if;
    first := case when after = '' then '00000000' else lpad(to_hex(('x' || after)::bit(32)::bigint + 1), 8, '0') end;
    last := (select left(u.id::text, 8) from postmeter.usage u
             where u.id >= (next_usage_anew.first || '-0000-0000-0000-000000000000')::uuid order by u.id offset many - 1 limit 1);
    last := coalesce(last, 'ffffffff');
end
$$;
comment on function postmeter.next_usage_anew(integer) is 'The next slices whose turn it is to be read again, with about so many usages. Null: there are none.';

create function postmeter.read_usage_anew(until text) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.balance_check b set usage_after = nullif(until, 'ffffffff')
$$;
comment on function postmeter.read_usage_anew(text) is 'Usage up to this slice was read again in turn.';

create function postmeter.ask_open_anew() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    broken bigint := (select max(x.id) from postmeter.timeline_break x);
    asked  bigint;
begin
    -- noticed here and not by a trigger: whoever says that commits were lost waits for no proof
    if broken > (select b.break_id from postmeter.balance_check b) then
        asked := postmeter.prove_balance_anew();
        update postmeter.balance_check b set break_id = broken;
        return asked;
    end if;
    insert into postmeter.balance_anew (meter_id)
    select p.meter_id from postmeter.proven_meter p where p.difference <> 0 order by 1
    on conflict do nothing;
    get diagnostics asked = row_count;
    return asked;
end
$$;
comment on function postmeter.ask_open_anew() is 'Begins a proof: meters that did not close when they were proven last are read again whole; after commits were lost, all are. Returns how many.';

create function postmeter.read_again_over() returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
    with n as materialized (select clock_timestamp() as now), next as materialized (
        -- a fiftieth of the time at most, but once a day
        select n.now, greatest(n.now, x.round_at + make_interval(secs => least(60 * x.round_seconds, 86400))) as at
        from postmeter.balance_check x, n
    )
    update postmeter.balance_check b
    set whole_from = b.round_at, whole_until = n.now, whole_seconds = b.round_seconds, round_seconds = 0,
        meters_after = 0, usage_after = '', round_at = n.at, round_ends_at = n.at + make_interval(secs => least(50 * b.round_seconds, 72000))
    from next n
$$;
comment on function postmeter.read_again_over() is 'The whole ledger was read again: says between when, and when that begins anew. The next time takes as much of the time as this one took, fifty times over, and 20 hours at most; it begins a day after this one at the latest.';

create function postmeter.read_again_took(seconds double precision) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.balance_check b set round_seconds = b.round_seconds + read_again_took.seconds
$$;
comment on function postmeter.read_again_took(double precision) is 'Notes how long reading again took.';

create view postmeter.balance_proof as
select t.name as destination, m.month, count(*) as meters,
       count(*) filter (where p.proven_at is not null and not v.moved and not v.anew) as proven,
       count(*) filter (where v.moved) as moved, count(*) filter (where v.anew) as anew,
       count(*) filter (where p.difference <> 0) as open,
       min(p.proven_at) as proven_from, max(p.proven_at) as proven_until, min(p.read_at) as read_from, max(p.read_at) as read_until
from postmeter.meter m
join postmeter.destination t on t.id = m.destination_id
left join postmeter.proven_meter p on p.meter_id = m.id
-- where commits were lost, nothing counts as proven
cross join (select exists (select from postmeter.timeline_break x where x.id > b.break_id) as is_broken from postmeter.balance_check b) c
cross join lateral (select exists (select from postmeter.balance_moved x where x.meter_id = m.id) as moved,
                           exists (select from postmeter.balance_anew x where x.meter_id = m.id) or c.is_broken as anew) v
group by 1, 2;
comment on view postmeter.balance_proof is 'Per destination and month, how many meters'' balances are proven, as of when, and how many were written to since. A month that is over is proven once; a write to it takes the proof of that meter back.';
comment on column postmeter.balance_proof.destination is 'The destination.';
comment on column postmeter.balance_proof.month is 'First day of the billing month.';
comment on column postmeter.balance_proof.meters is 'How many meters.';
comment on column postmeter.balance_proof.proven is 'Of these, proven, and not written to since.';
comment on column postmeter.balance_proof.moved is 'Of these, written to since they were proven.';
comment on column postmeter.balance_proof.anew is 'Of these, being read again whole.';
comment on column postmeter.balance_proof.open is 'Of these, those whose difference is not zero.';
comment on column postmeter.balance_proof.proven_from is 'The oldest of their proofs; real time.';
comment on column postmeter.balance_proof.proven_until is 'The newest of them.';
comment on column postmeter.balance_proof.read_from is 'When the one of them was read whole that waits longest for its turn; those that were never are left out.';
comment on column postmeter.balance_proof.read_until is 'When the last of them was.';

-- what is there has not been proven
select postmeter.prove_balance_anew();
update postmeter.balance_check set break_id = coalesce((select max(x.id) from postmeter.timeline_break x), 0);

revoke execute on function postmeter.when_said(timestamptz) from public;
grant execute on function postmeter.when_said(timestamptz) to postmeter_reader, postmeter_operator, postmeter_worker;
revoke execute on function postmeter.moved_by_cut(), postmeter.moved_by_meter(), postmeter.moved_by_metric(), postmeter.moved_by_delivery(),
    postmeter.moved_by_part(), postmeter.moved_by_allocation(), postmeter.allocation_went(), postmeter.moved_by_carry(), postmeter.usage_went(),
    postmeter.check_proof_state(), postmeter.read_remittances(bigint[], bigint[]), postmeter.prove_balance_anew(), postmeter.prove_moved(bigint[]),
    postmeter.prove_anew(bigint[], integer), postmeter.prove_slices(text[]), postmeter.prove_usage(text, text), postmeter.prove_carried(),
    postmeter.ask_meters_anew(integer), postmeter.ask_open_anew(), postmeter.read_again_over(), postmeter.read_again_took(double precision), postmeter.next_usage_anew(integer), postmeter.read_usage_anew(text) from public;
grant execute on function postmeter.prove_balance_anew(), postmeter.prove_moved(bigint[]), postmeter.prove_anew(bigint[], integer),
    postmeter.prove_slices(text[]), postmeter.prove_usage(text, text), postmeter.prove_carried(), postmeter.ask_meters_anew(integer), postmeter.ask_open_anew(), postmeter.read_again_over(), postmeter.read_again_took(double precision),
    postmeter.next_usage_anew(integer), postmeter.read_usage_anew(text) to postmeter_worker, postmeter_operator;
grant select on postmeter.meter_balance, postmeter.remittance_balance, postmeter.usage_place, postmeter.carried_place, postmeter.proven_remittance,
    postmeter.proven_meter, postmeter.balance_moved, postmeter.balance_anew, postmeter.usage_moved, postmeter.usage_open, postmeter.balance_proof
    to postmeter_reader, postmeter_operator, postmeter_worker;
grant insert on postmeter.usage_moved to postmeter_worker;
grant select, update on postmeter.balance_gate to postmeter_worker, postmeter_operator;

insert into postmeter.migration (version, name) values (50, '0050_pre_proof');
