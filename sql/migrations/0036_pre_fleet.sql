-- 0036_pre_fleet: who is missing: consoles say that they live, and what a worker or console that died leaves is noticed.
-- programs: from 0022
-- lock: access exclusive on setting, grows with its rows: it gets two columns, and is one row

create table postmeter.console (
    id         uuid not null primary key,
    name       text not null,
    version    text not null,
    started_at timestamptz not null default clock_timestamp(),
    seen_at    timestamptz not null default clock_timestamp(),
    stopped_at timestamptz
) with (fillfactor = 50);
comment on table postmeter.console is 'One row per console process: its signs of life, in real time. Rows of a week ago are forgotten.';
comment on column postmeter.console.id is 'Drawn anew at every start.';
comment on column postmeter.console.name is 'Host and process, for people.';
comment on column postmeter.console.version is 'Version of the program.';
comment on column postmeter.console.started_at is 'When it started.';
comment on column postmeter.console.seen_at is 'Its last sign of life; there is one every ten seconds.';
comment on column postmeter.console.stopped_at is 'When it said that it stops; null: it has not.';

create function postmeter.console_seen(id uuid, name text, version text, stops boolean) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
    insert into postmeter.console (id, name, version, stopped_at)
    values (console_seen.id, left(console_seen.name, 255), left(console_seen.version, 255), case when stops then clock_timestamp() end)
    on conflict on constraint console_pkey do update
    set seen_at = clock_timestamp(), stopped_at = case when stops then clock_timestamp() end
$$;
comment on function postmeter.console_seen(uuid, text, text, boolean) is 'A console says that it lives, or that it stops.';

alter table postmeter.setting
    add column workers_expected integer check (workers_expected >= 0),
    add column consoles_expected integer check (consoles_expected >= 0);
comment on column postmeter.setting.workers_expected is 'Workers that should live at any time; fewer is an alert (fleet_incomplete). Null: as many as lived when one was lost without stopping in order, within a week.';
comment on column postmeter.setting.consoles_expected is 'The same of consoles.';

create view postmeter.fleet as
with process as materialized (
    select 'worker' as part, w.name, w.started_at, w.heartbeat_at as seen_at, w.lease_until as alive_until, w.stopped_at
    from postmeter.worker w
    union all
    select 'console' as part, c.name, c.started_at, c.seen_at, c.seen_at + interval '1 minute' as alive_until, c.stopped_at
    from postmeter.console c
), part as (
    select 'worker' as part, s.workers_expected as expected from postmeter.setting s
    union all
    select 'console' as part, s.consoles_expected as expected from postmeter.setting s
), alive as (
    select p.part, p.expected,
           (select count(*) from process x where x.part = p.part and x.stopped_at is null and x.alive_until > clock_timestamp()) as alive
    from part p
), lost as (
    -- who fell silent without a word, and how many lived then that have not stopped in order since
    select l.part, l.name, l.alive_until,
           (select count(*) from process x
            where x.part = l.part and x.stopped_at is null and x.started_at <= l.seen_at and x.seen_at >= l.seen_at) as lived
    from (select x.part, x.name, x.seen_at, x.alive_until from process x
          where x.stopped_at is null and x.alive_until <= clock_timestamp() and x.alive_until > clock_timestamp() - interval '7 days'
          order by x.alive_until desc limit 100) l
)
select a.part, a.alive, coalesce(a.expected, l.lived, a.alive) as expected,
       greatest(coalesce(a.expected, l.lived, a.alive) - a.alive, 0) as missing,
       coalesce(l.alive_until, (select max(x.stopped_at) from process x where x.part = a.part), '-infinity') as since, l.names
from alive a
left join lateral (
    select max(x.lived) as lived, max(x.alive_until) as alive_until,
           (array_agg(x.name order by x.alive_until desc))[1:5] as names
    from lost x where x.part = a.part and (a.expected is not null or x.lived > a.alive)
) l on true;
comment on view postmeter.fleet is 'Workers and consoles: how many live, and how many are missing. One that stopped in order is not missed; one that was replaced is not either.';
comment on column postmeter.fleet.part is 'worker or console.';
comment on column postmeter.fleet.alive is 'How many live.';
comment on column postmeter.fleet.expected is 'How many should: by setting.workers_expected and consoles_expected, else as many as lived when one was lost within a week.';
comment on column postmeter.fleet.missing is 'How many are missing.';
comment on column postmeter.fleet.since is 'Since when the last of the lost ones is silent, or the last one stopped.';
comment on column postmeter.fleet.names is 'The lost ones, the latest first; five at most. Null: none is lost.';

create function postmeter.forget_processes(most integer) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
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
            where a.worker_id = x.id and a.id >= coalesce(x.oldest_attempt, postmeter.id_at(x.started_at - interval '1 hour'))
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
comment on function postmeter.forget_processes(integer) is 'Forgets up to so many workers and so many consoles that ended more than a week ago: no worker of which an attempt has no outcome, and one that died while it folded only after 30 days. Attempts keep the worker''s id. Returns how many.';

insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('fleet_incomplete', 'warning', '30 seconds', '5 minutes', '10 seconds');

revoke execute on function postmeter.console_seen(uuid, text, text, boolean), postmeter.forget_processes(integer) from public;
grant execute on function postmeter.console_seen(uuid, text, text, boolean) to postmeter_console;
grant execute on function postmeter.forget_processes(integer) to postmeter_worker;
grant select on postmeter.console, postmeter.fleet to postmeter_reader, postmeter_operator, postmeter_worker;

insert into postmeter.migration (version, name) values (36, '0036_pre_fleet');
