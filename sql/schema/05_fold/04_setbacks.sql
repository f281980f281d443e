-- Members of a batch that are locked, failing or suspect, while the rest goes on.

create table postmeter.setback (
    step           text collate "C" not null check ((octet_length(step) >= 1) and (octet_length(step) <= 50)),
    member         text collate "C" not null check ((octet_length(member) >= 1) and (octet_length(member) <= 300)),
    destination_id integer,
    org            text,
    since          timestamptz      not null default clock_timestamp(),
    last_at        timestamptz      not null default clock_timestamp(),
    skipped        integer          not null default 0 check (skipped >= 0),
    failed         integer          not null default 0 check (failed >= 0),
    code           text,
    reason         text,
    holder         text,
    set_aside_at   timestamptz,
    next_at        timestamptz      not null default clock_timestamp(),
    held_off_until timestamptz,
    primary key (step, member)
);
comment on table postmeter.setback is
    'Members of a step''s batch that did not go through: locked by another session, or failing. The rest of the '
    'batch went on. A row goes when its member passes. All times are the server''s.';
comment on column postmeter.setback.step is 'The step: fold, cut, carry, month_end, review, …';
comment on column postmeter.setback.member is
    'What the step handles one of, by its number or id: fold a usage (or an org, as org:…), cut and review a '
    'remittance, carry and month_end a meter.';
comment on column postmeter.setback.destination_id is 'The member''s destination, if it has one.';
comment on column postmeter.setback.org is 'The member''s org, where the step knows it.';
comment on column postmeter.setback.since is 'When it first did not go through.';
comment on column postmeter.setback.last_at is 'When it last did not.';
comment on column postmeter.setback.skipped is 'Rounds in a row in which another session held its lock.';
comment on column postmeter.setback.failed is 'Times in a row that it failed alone while another member passed.';
comment on column postmeter.setback.code is 'SQLSTATE of the last failure.';
comment on column postmeter.setback.reason is 'The server''s message of the last failure.';
comment on column postmeter.setback.holder is 'The session that held the lock when it was last waited for.';
comment on column postmeter.setback.set_aside_at is
    'When it was set aside: it failed twice alone while another passed. It is tried again at next_at.';
comment on column postmeter.setback.next_at is
    'Not tried again before, unless a change could cure it (postmeter.try_setbacks_again).';
comment on column postmeter.setback.held_off_until is
    'Until then no new fold locks it: whoever waits to lock it alone comes next.';

create table postmeter.step_failure (
    step      text collate "C" not null check ((octet_length(step) >= 1) and (octet_length(step) <= 120)),
    worker_id uuid             not null,
    since     timestamptz      not null default clock_timestamp(),
    last_at   timestamptz      not null default clock_timestamp(),
    times     integer          not null default 1 check (times > 0),
    code      text,
    message   text             not null,
    primary key (step, worker_id)
);
comment on table postmeter.step_failure is
    'Steps that fail as a whole, by worker, with the last error. A row goes when the step goes well again.';
comment on column postmeter.step_failure.step is
    'The step; that of one destination with its name (dispatch at aws-us).';
comment on column postmeter.step_failure.worker_id is 'The worker that meets it.';
comment on column postmeter.step_failure.since is 'When it first failed.';
comment on column postmeter.step_failure.last_at is 'When it last failed.';
comment on column postmeter.step_failure.times is 'Times in a row.';
comment on column postmeter.step_failure.code is 'SQLSTATE of the last error.';
comment on column postmeter.step_failure.message is 'The last error.';

create table postmeter.suspect_range (
    id     uuid        primary key,
    since  timestamptz not null default clock_timestamp(),
    deaths integer     not null default 0 check (deaths >= 0)
);
comment on table postmeter.suspect_range is
    'Parts of the outbox that workers had in hand while they died folding. Each is folded apart from everything '
    'else, by whichever worker takes it; one that kills again is split, down to the entry to blame. A row goes '
    'when its part is through.';
comment on column postmeter.suspect_range.id is 'Drawn by chance.';
comment on column postmeter.suspect_range.since is
    'Since when, or when it was put behind the others because another session''s lock was in its way: the '
    'server''s time.';
comment on column postmeter.suspect_range.deaths is
    'Workers that died with it, since it is one entry alone. After two that entry is held as poison.';

create table postmeter.suspect (
    usage_id uuid     primary key,
    shard    smallint not null,
    range_id uuid     not null
);
create index suspect_by_range on postmeter.suspect (range_id);
comment on table postmeter.suspect is
    'Outbox entries that a worker had in hand while it died folding. The ordinary folds leave them out.';
comment on column postmeter.suspect.usage_id is 'The usage of the entry.';
comment on column postmeter.suspect.shard is 'The entry''s shard.';
comment on column postmeter.suspect.range_id is 'The part with which it is folded.';

-- Whoever writes several of these rows takes them in the order of their key, so that two never wait for one another.
create function postmeter.try_setbacks_again() returns integer
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
with waiting as materialized (
        select s.step, s.member from postmeter.setback s where s.next_at > clock_timestamp()
            order by s.step, s.member for update
    ), again as (
        update postmeter.setback s set next_at = clock_timestamp()
        from waiting w where s.step = w.step and s.member = w.member
        returning 1
    )
    select count(*)::integer from again;
end;
comment on function postmeter.try_setbacks_again() is
    'What was set aside is tried again in the next round: after a change that could cure it. Returns how many.';

create function postmeter.setback_is_over(step text, member text) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    case
        when step in ('cut', 'shadow_cut') then
            return not exists (select from postmeter.open_hour o where o.delivery_id = setback_is_over.member::bigint);
        when step = 'promote' then
            return not exists (select from postmeter.later l where l.delivery_id = setback_is_over.member::bigint);
        when step = 'deadlines' then
            -- its deadline is right, or no mark of its buyer stands
            return not exists (
                select from postmeter.delivery d
                join postmeter.meter m on m.id = d.meter_id
                where d.id = setback_is_over.member::bigint
                  and d.status in ('open', 'nothing_due', 'due', 'in_flight', 'rejected', 'unknown', 'held')
                  and postmeter.deadline_of(d.destination_id, m.buyer, d.hour) <> d.deadline
                  and exists (select from postmeter.deadline_change c where c.destination_id = d.destination_id
                      and c.buyer = m.buyer));
        when step = 'marked' then
            -- it is counted in no open hour of a marked buyer any more
            return not exists (
                select from postmeter.allocation a
                join postmeter.delivery d on d.id = a.delivery_id and d.status = 'open' and d.round = a.round
                join postmeter.meter m on m.id = d.meter_id
                join postmeter.catalogue_mark c on c.destination_id = m.destination_id and c.buyer = m.buyer
                where a.usage_id = setback_is_over.member::uuid);
        when step in ('settle', 'reap') then
            return not exists (
                select from postmeter.attempt a
                where a.delivery_id = setback_is_over.member::bigint
                  and not exists (select from postmeter.outcome o where o.attempt_id = a.id));
        else
            return false;
    end case;
end
$$;
comment on function postmeter.setback_is_over(text, text) is
    'Whether the step has nothing to do with this member of postmeter.setback any more, whoever saw to that. False '
    'where only the step itself can tell.';

create function postmeter.setbacks_over(step text) returns setof text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    members text[];
begin
    if step <> 'gather' then
        return query
        select s.member from postmeter.setback s
        where s.step = setbacks_over.step and postmeter.setback_is_over(s.step, s.member);
        return;
    end if;
    select array_agg(s.member) into members from postmeter.setback s where s.step = setbacks_over.step;
    if members is null then
        return;
    end if;
    -- once through what is not counted yet, however many members there are
    return query
    select m.member from unnest(members) m(member)
    except
    select left(n.request_key, 50) from postmeter.request_news n where left(n.request_key, 50) = any (members);
end
$$;
comment on function postmeter.setbacks_over(text) is
    'Members of postmeter.setback with which this step has nothing to do any more, whoever saw to that.';
