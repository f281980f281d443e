-- 0009_pre_breaker: the health of destinations, shared by the fleet.
-- programs: from 0009
-- lock: share row exclusive on destination, for a moment: a foreign key to it

create table postmeter.breaker (
    destination_id integer     not null primary key references postmeter.destination on delete cascade,
    faults         integer     not null check (faults >= 1),
    opened_at      timestamptz not null,
    open_until     timestamptz not null,
    probing_by     uuid,
    probing_until  timestamptz,
    ramp           integer     check (ramp >= 1),
    outcome        text        not null,
    code           text,
    http_status    integer,
    updated_at     timestamptz not null,
    constraint breaker_probe check ((probing_by is null) = (probing_until is null)),
    constraint breaker_recovers check (ramp is null or probing_by is null)
) with (fillfactor = 50);
comment on table postmeter.breaker is 'Destinations that have a fault as a whole, or recover from one. A healthy destination has no row. All times are real: clock_timestamp(), not postmeter.clock().';
comment on column postmeter.breaker.destination_id is 'The destination.';
comment on column postmeter.breaker.faults is 'How often it opened in a row, failed probes included: the pause doubles with each.';
comment on column postmeter.breaker.opened_at is 'Since when nothing, or not everything, is sent.';
comment on column postmeter.breaker.open_until is 'No call before this; after it one worker of the fleet probes with one call.';
comment on column postmeter.breaker.probing_by is 'The worker that may probe.';
comment on column postmeter.breaker.probing_until is 'Until when it may: it ends by itself, should that worker die.';
comment on column postmeter.breaker.ramp is 'Once a probe was answered: calls that each worker may have in flight. It doubles as they are answered; null: no call but the probe.';
comment on column postmeter.breaker.outcome is 'Outcome of the last call that met the fault.';
comment on column postmeter.breaker.code is 'Its code.';
comment on column postmeter.breaker.http_status is 'Its HTTP status.';
comment on column postmeter.breaker.updated_at is 'When a worker last wrote this row.';

create view postmeter.destination_health as
select t.name as destination, t.paused,
       case when b.destination_id is null then 'closed' when b.ramp is not null then 'recovering'
            when b.open_until > clock_timestamp() then 'open' else 'half_open' end as breaker,
       b.opened_at as since, case when b.ramp is null then b.open_until end as next_probe_at,
       case when b.probing_until > clock_timestamp() then (select w.name from postmeter.worker w where w.id = b.probing_by) end as probing,
       b.ramp, b.faults, b.outcome as last_outcome, b.code as last_code, b.http_status as last_http_status, b.updated_at as changed_at,
       q.due, q.later, q.earliest_deadline, q.shadow, t.kind, t.zone, t.dry_run, q.open
from postmeter.destination t
join postmeter.queue q on q.destination = t.name
left join postmeter.breaker b on b.destination_id = t.id;
comment on view postmeter.destination_health is 'Per destination: whether a person paused it, whether its breaker is closed, open, half open or recovering, since when and why, and how much waits. Times of the breaker are real times.';

create function postmeter.probe(destination text, who text, why text, out breaker text, out changed boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t record;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_destination(destination);
    select x.id, b.ramp, b.open_until, b.probing_until into t
    from postmeter.destination x join postmeter.breaker b on b.destination_id = x.id
    where x.name = probe.destination for update of b;
    breaker := case when not found then 'closed' when t.ramp is not null then 'recovering'
                    when t.open_until > clock_timestamp() then 'open' else 'half_open' end;
    changed := breaker = 'open';
    if changed then
        update postmeter.breaker b set open_until = clock_timestamp(), updated_at = clock_timestamp() where b.destination_id = t.id;
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after)
        values (who, why, 'probe', t.id, 'open', 'half_open');
    end if;
end
$$;
comment on function postmeter.probe(text, text, text) is
    'Ends the pause of a destination''s breaker: a worker probes at its next look, and what the probe is answered decides. Returns where the breaker stood; changed is false where there was no pause to end.';
revoke execute on function postmeter.probe(text, text, text) from public;
grant execute on function postmeter.probe(text, text, text) to postmeter_operator;

grant select on postmeter.breaker, postmeter.destination_health to postmeter_reader, postmeter_operator, postmeter_worker;
grant insert, update, delete on postmeter.breaker to postmeter_worker;

insert into postmeter.migration (version, name) values (9, '0009_pre_breaker');
