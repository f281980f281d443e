-- 0021_pre_metrics: what metrics need beside what is there: how many usages were cut, and what the last check of the
-- balance found.
-- programs: from 0021
-- lock: access exclusive on meter_metric, for a moment: a column with a constant default

alter table postmeter.meter_metric add column usages bigint not null default 0;
comment on column postmeter.meter_metric.usages is 'Usages of all hours cut so far this month; written with used.';

create table postmeter.balance_check (
    one        boolean not null primary key default true check (one),
    next_at    timestamptz not null default '-infinity',
    checked_at timestamptz,
    open       bigint  check (open >= 0),
    example    text,
    seconds    double precision,
    constraint balance_check_whole check ((checked_at is null) = (open is null))
);
insert into postmeter.balance_check default values;
comment on table postmeter.balance_check is 'What the last check of the whole balance found. One row; one worker of the fleet checks at a time, because a check reads the whole ledger.';
comment on column postmeter.balance_check.one is 'There is one row.';
comment on column postmeter.balance_check.next_at is 'No check before this, in real time.';
comment on column postmeter.balance_check.checked_at is 'When the last check that came to its end did, in real time; null: none has.';
comment on column postmeter.balance_check.open is 'Meters, and orgs'' metrics, whose difference was not zero.';
comment on column postmeter.balance_check.example is 'One of them.';
comment on column postmeter.balance_check.seconds is 'How long the last check took, also one that was given up.';

grant select on postmeter.balance_check to postmeter_reader, postmeter_operator, postmeter_worker;
grant update (next_at, checked_at, open, example, seconds) on postmeter.balance_check to postmeter_worker;

insert into postmeter.migration (version, name) values (21, '0021_pre_metrics');
