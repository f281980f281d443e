-- 0034_pre_switches: a change of a destination's rules is known by its version, and workers say by which version they act.
-- programs: from 0022
-- lock: access exclusive on destination, for a moment: it gets a column and a trigger
-- lock: access exclusive on worker, for a moment: it gets a column
-- lock: share row exclusive on quota, for a moment: it gets a trigger

alter table postmeter.destination add column version bigint not null default 1;
comment on column postmeter.destination.version is
    'Raised by every change of this row and of its quota''s limit, in the same transaction: nothing is claimed, and no call begins, by an older one.';

alter table postmeter.worker add column acknowledged jsonb not null default '{}';
comment on column postmeter.worker.acknowledged is
    'By number of destination: the version by which it acts (no call begins by an older one any more), and how many calls were on the wire when it said so.';

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
create trigger raise_version before update on postmeter.destination for each row execute function postmeter.raise_version();

create function postmeter.raise_versions_of_quota() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update postmeter.destination t set version = t.version + 1 where t.quota_id = new.id;
    return null;
end
$$;
comment on function postmeter.raise_versions_of_quota() is 'Trigger: whatever changes a quota''s limit raises the version of its destinations.';
create trigger raise_versions after update of calls_per_second on postmeter.quota for each row
    when (old.calls_per_second is distinct from new.calls_per_second) execute function postmeter.raise_versions_of_quota();
revoke execute on function postmeter.raise_version(), postmeter.raise_versions_of_quota() from public;

-- a fold's reference to the destination does not hold it up any more
create or replace function postmeter.set_paused(destination text, paused boolean, who text, why text) returns boolean
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
            case when t.paused then 'paused' else 'sending' end, case when set_paused.paused then 'paused' else 'sending' end);
    return true;
end
$$;

insert into postmeter.migration (version, name) values (34, '0034_pre_switches');
