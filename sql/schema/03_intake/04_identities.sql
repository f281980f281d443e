-- Generations of identities.

create function postmeter.usage_of(source text, event_id text) returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
begin
    -- by name: the tables are others after each turn
    return coalesce(
        (select i.usage_id from postmeter.usage_identity i
         where i.source = usage_of.source and i.event_id = usage_of.event_id),
        (select i.usage_id from postmeter.usage_identity_before i
         where i.source = usage_of.source and i.event_id = usage_of.event_id));
end
$$;
comment on function postmeter.usage_of(text, text) is
    'The usage that was recorded under a source and event id; null: none, or so long ago that its identity was '
    'forgotten.';

create function postmeter.identities_overdue(out began_at timestamptz, out overdue interval) returns record
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    perform postmeter.check_generation();
    -- Usage is recorded a day ahead at most (setting_usage_lead_bound; two, to be sure of any interval and zone). So
    -- what the
    -- older generation knows is too old to be recorded again once the younger one has lasted for that and the age
    -- taken.
    select g.began_at, postmeter.clock() - ((g.began_at at time zone 'UTC' + s.usage_age_max) at time zone 'UTC'
        + interval '48 hours')
    into strict began_at, overdue
    from postmeter.identity_generation g, postmeter.setting s;
end
$$;
comment on function postmeter.identities_overdue() is
    'When the younger generation of identities began, and for how long it could have taken its turn; below zero: '
    'not yet.';

create function postmeter.turn_identities() returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
declare
    began   timestamptz;
    overdue interval;
    forgets boolean;
begin
    if not postmeter.try_gate('turn_identities') then
        return false;
    end if;
    select t.began_at, t.overdue into began, overdue from postmeter.identities_overdue() t;
    if overdue < '0' then
        return false;
    end if;
    -- Who waits for a lock makes others wait behind it: for a moment at first, longer once it has failed for hours, and
    -- less
    -- than Postgres takes to look for a deadlock.
    perform set_config('lock_timeout', least(500, 100 + 10 * extract(epoch from overdue) / 3600)::integer::text, true);
    begin
        perform from postmeter.setting s for update;
        -- Whoever records takes this one first, and keeps it: who has begun is waited for, who comes waits and reads
        -- anew.
        lock table postmeter.identity_generation in access exclusive mode;
        lock table postmeter.usage_identity, postmeter.usage_identity_before in access exclusive mode;
    exception when lock_not_available or deadlock_detected then
        return false;
    end;
    -- by now another may have done it; and one whose snapshot is older sees no row, and must not
    select t.began_at, t.overdue into began, overdue from postmeter.identities_overdue() t;
    if overdue < '0' then
        return false;
    end if;
    select exists (select from postmeter.usage_identity_before) into forgets;
    drop table postmeter.usage_identity_before;
    alter table postmeter.usage_identity rename to usage_identity_before;
    alter table postmeter.usage_identity_before rename constraint usage_identity_pkey to usage_identity_before_pkey;
    drop index postmeter.usage_identity_corrected;
    create table postmeter.usage_identity (like postmeter.usage_identity_before including comments);
    alter table postmeter.usage_identity add constraint usage_identity_pkey primary key (source, event_id);
    create index usage_identity_corrected on postmeter.usage_identity (identity) where identity is not null;
    alter table postmeter.usage_identity_before drop column identity;
    execute format('comment on table postmeter.usage_identity is %L',
                   obj_description('postmeter.usage_identity_before'::regclass, 'pg_class'));
    comment on table postmeter.usage_identity_before is
        'The older generation of identities: nothing is added to it, and it is dropped as a whole.';
    grant select on postmeter.usage_identity to postmeter_reader, postmeter_operator, postmeter_worker;
    truncate postmeter.identity_generation;
    insert into postmeter.identity_generation (began_at) values (postmeter.clock());
    if forgets then
        update postmeter.setting s set identities_from = greatest(s.identities_from, began + interval '48 hours');
    end if;
    return true;
end
$$;
comment on function postmeter.turn_identities() is
    'Begins a new generation of identities and drops the older one, once nothing that it knows could be recorded '
    'again; true: it did. Waits 100 ms for each of its locks, after hours in vain up to 500 ms; the next call '
    'tries again.';

create function postmeter.check_generation() returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from postmeter.identity_generation) then
        raise exception 'identities were turned after this transaction had taken its snapshot'
            using errcode = '40001', hint = 'Begin it again: nothing of it was recorded.';
    end if;
end
$$;
comment on function postmeter.check_generation() is
    'Raises 40001 for a transaction whose snapshot is older than the present generation of identities: it cannot '
    'see what was recorded since.';
