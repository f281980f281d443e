-- 0012_pre_timeline: commits that a failover or a restore took away, and what counts as possibly attempted since.
-- programs: from 0012
-- lock: none

create table postmeter.timeline_break (
    id                bigint generated always as identity primary key,
    noticed_at        timestamptz not null default postmeter.clock(),
    who               text not null check (who <> ''),
    why               text not null check (why <> ''),
    timeline          text not null,
    server_started_at timestamptz not null,
    unique (timeline, server_started_at)
);
comment on table postmeter.timeline_break is 'Moments since which the database lacks commits that it once had. Every remittance whose hour was over by then counts as possibly attempted (maybe_billed; what is cut later, at its cut): a duplicate is ours, and a refusal proves nothing.';
comment on column postmeter.timeline_break.id is 'Number of the break.';
comment on column postmeter.timeline_break.noticed_at is 'When it was noticed, on postmeter.clock().';
comment on column postmeter.timeline_break.who is 'The worker or the person who noticed.';
comment on column postmeter.timeline_break.why is 'What they saw.';
comment on column postmeter.timeline_break.timeline is 'The server''s timeline now.';
comment on column postmeter.timeline_break.server_started_at is 'When this server started: with the timeline, what many workers notice at once is one break.';

create function postmeter.timeline_went_back(who text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t text;
begin
    perform postmeter.check_decider(who, why);
    insert into postmeter.timeline_break (who, why, timeline, server_started_at)
    values (who, why, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), pg_postmaster_start_time())
    on conflict do nothing;
    if not found then
        return false;
    end if;
    -- what may have been sent in the time that was lost: only evidence or a person moves it on
    update postmeter.delivery d
    set maybe_billed = true, maybe_since = d.hour + interval '1 hour'
    from (select x.id from postmeter.delivery x
          where x.status in ('due', 'in_flight', 'held') and not x.maybe_billed and not x.shadow and x.body is not null
            and x.hour + interval '1 hour' <= postmeter.clock() order by x.id for update) o
    where d.id = o.id;
    -- nothing moves by itself: what is stuck here may have been moved already in that time
    update postmeter.stuck s set again_at = null where s.again_at is not null;
    for t in select d.name from postmeter.destination d where not d.paused order by d.id loop
        perform postmeter.set_paused(t, true, who, why);
    end loop;
    return true;
end
$$;
comment on function postmeter.timeline_went_back(text, text) is
    'Says that commits were lost: pauses every destination, each with a decision, and counts what may have been sent as possibly attempted. Workers call it; after a restore with all workers stopped a person does. False: this break is known already.';

grant select on postmeter.timeline_break to postmeter_reader, postmeter_operator, postmeter_worker;
revoke execute on function postmeter.timeline_went_back(text, text) from public;
grant execute on function postmeter.timeline_went_back(text, text) to postmeter_operator, postmeter_worker;

insert into postmeter.migration (version, name) values (12, '0012_pre_timeline');
