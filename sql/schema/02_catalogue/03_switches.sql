-- Pause, resume and probe: switches that act at once.

create function postmeter.check_destination(destination text) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from postmeter.destination t where t.name = check_destination.destination) then
        raise exception 'there is no destination %', coalesce(quote_literal(destination), 'without a name')
            using errcode = 'PM033', column = 'destination', constraint = 'destination_exists',
                  hint = coalesce('Did you mean '
                      || quote_literal(postmeter.nearest(destination,
                      array(select t.name from postmeter.destination t))) || '?',
                                  'postmeter catalog show lists them.');
    end if;
end
$$;
comment on function postmeter.check_destination(text) is 'Refuses a destination that does not exist (PM033).';

create function postmeter.pause(destination text, who text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return postmeter.set_paused(destination, true, who, why);
end
$$;
comment on function postmeter.pause(text, text, text) is
    'Stops sending to a destination; what is in flight ends by itself. False: it was paused already.';

create function postmeter.resume(destination text, who text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return postmeter.set_paused(destination, false, who, why);
end
$$;
comment on function postmeter.resume(text, text, text) is
    'Sends to a paused destination again. False: it was not paused.';

-- a fold's reference to the destination does not hold it up any more
create function postmeter.set_paused(destination text, paused boolean, who text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t postmeter.destination;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_destination(destination);
    select * into t from postmeter.destination x where x.name = set_paused.destination for no key update;
    if t.paused = set_paused.paused then
        return false;
    end if;
    update postmeter.destination x set paused = set_paused.paused where x.id = t.id;
    insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after)
    values (who, why, case when set_paused.paused then 'pause' else 'resume' end, t.id,
            case when t.paused then 'paused' else 'sending' end, case when set_paused.paused then 'paused'
                else 'sending' end);
    return true;
end
$$;
comment on function postmeter.set_paused(text, boolean, text, text) is 'What pause and resume share.';

create function postmeter.probe(destination text, who text, why text, out breaker text, out changed boolean)
returns record
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    d record;
    t record;
    waited timestamptz;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_destination(destination);
    select x.id, x.quota_id, q.name as quota into d
    from postmeter.destination x join postmeter.quota q on q.id = x.quota_id where x.name = probe.destination;
    select b.ramp, b.open_until into t from postmeter.breaker b where b.destination_id = d.id for update;
    breaker := case when not found then 'closed' when t.ramp is not null then 'recovering'
                    when t.open_until > clock_timestamp() then 'open' else 'half_open' end;
    if breaker = 'open' then
        update postmeter.breaker b set open_until = clock_timestamp(), updated_at = clock_timestamp()
            where b.destination_id = d.id;
    end if;
    changed := breaker = 'open';
    -- their wait is that of the quota, and of all that share it
    select p.wait_until into waited from postmeter.pace p where p.quota_id = d.quota_id
        and p.wait_until > clock_timestamp() for update;
    if found then
        perform postmeter.end_wait(d.quota_id);
        breaker := 'waiting';
        changed := true;
    end if;
    if changed then
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after, detail)
        values (who, why, 'probe', d.id, breaker, case breaker when 'open' then 'half_open' else 'sending' end,
                case when waited is null then '{}'::jsonb
                    else jsonb_build_object('quota', d.quota, 'wait_until', waited) end);
    end if;
end
$$;
comment on function postmeter.probe(text, text, text) is
    'Tries a destination before its time: ends the pause of its breaker, so that a worker probes at its next look, '
    'and the wait that the marketplace asked for (Retry-After), for all destinations of its quota. What the calls '
    'are answered decides. Returns waiting if it ended such a wait, else where the breaker stood; changed is false '
    'where there was neither to end.';

create function postmeter.raise_version() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- whoever sets it by hand raises it too
    if new is distinct from old then
        new.version := old.version + 1;
    end if;
    return new;
end
$$;
comment on function postmeter.raise_version() is 'Trigger: whatever changes a destination raises its version.';
create trigger raise_version before update on postmeter.destination
    for each row execute function postmeter.raise_version();

create function postmeter.raise_versions_of_quota() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update postmeter.destination t set version = t.version + 1 where t.quota_id = new.id;
    return null;
end
$$;
comment on function postmeter.raise_versions_of_quota() is
    'Trigger: whatever changes a quota''s limit raises the version of its destinations.';
create trigger raise_versions after update of calls_per_second on postmeter.quota
    for each row
    when (old.calls_per_second is distinct from new.calls_per_second)
    execute function postmeter.raise_versions_of_quota();

create function postmeter.end_wait(quota integer) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    update postmeter.pace p set wait_until = '-infinity', wait_ended_at = clock_timestamp(),
        updated_at = clock_timestamp()
    where p.quota_id = quota;
    -- what was to wait with it is due; what somebody has in hand is decided about there
    with over as materialized (
        select l.delivery_id, d.destination_id, d.deadline
        from postmeter.later l
        join postmeter.delivery d on d.id = l.delivery_id
        join postmeter.destination t on t.id = l.destination_id and t.quota_id = quota
        where l.due_at > postmeter.clock()
          and (select o.retry_after from postmeter.attempt a join postmeter.outcome o on o.attempt_id = a.id
               where a.delivery_id = l.delivery_id order by a.id desc limit 1) is not null
        order by l.delivery_id
        for update of l, d skip locked
    ), gone as (
        delete from postmeter.later l using over o where l.delivery_id = o.delivery_id
    )
    insert into postmeter.due (delivery_id, destination_id, deadline)
    select o.delivery_id, o.destination_id, o.deadline from over o order by o.delivery_id;
    -- workers look at versions twice a second, and say by which they act
    update postmeter.destination t set version = t.version + 1
    where t.id in (select x.id from postmeter.destination x where x.quota_id = quota order by x.id for no key update);
end
$$;
comment on function postmeter.end_wait(integer) is
    'Ends the wait of a quota, and of the remittances that were answered with it: a part of probe.';
