-- 0044_pre_evidence: what contradicts what was settled, and which installation a database is.
-- programs: from 0022
-- lock: access exclusive on decision, grows with its rows: its verbs get two more, and each row is checked
-- lock: access exclusive on dead_letter, for a moment: a view that shows one thing more

-- each release may have added verbs: these two come to whatever there is
do $$
declare
    known text[];
begin
    select array_agg(m[1]) into known
    from pg_catalog.pg_constraint c, regexp_matches(pg_catalog.pg_get_constraintdef(c.oid), '''([a-z_]+)''', 'g') m
    where c.conrelid = 'postmeter.decision'::regclass and c.conname = 'decision_verb_check';
    execute format('alter table postmeter.decision drop constraint decision_verb_check, '
                   'add constraint decision_verb_check check (verb in (%s))',
                   (select string_agg(quote_literal(v), ', ') from unnest(known || '{judge,declare}'::text[]) v));
end
$$;

comment on column postmeter.decision.verb is 'retry, release, write_off, hold, resolve, pause, resume, probe, close, reopen, apply (a catalogue), retain (for how long the ledger is kept), export and drop (a month of the ledger), set_alert (a rule of the alerts), judge (a contradiction), declare (what this database is).';
comment on column postmeter.decision_log.verb is 'retry, release, write_off, hold, resolve, pause, resume, probe, close, reopen, apply (a catalogue over HTTP), retain, export, drop, set_alert, judge, declare.';

-- contradictions ------------------------------------------------------------------------------------------------------

create table postmeter.contradiction (
    id                bigint  generated always as identity primary key,
    noted_at          timestamptz not null default postmeter.clock(),
    destination_id    integer not null,
    delivery_id       bigint,
    source            text    not null check (source in ('late_evidence', 'reconciliation', 'person')),
    says              text    not null check (says in ('held', 'other_quantity', 'not_held')),
    their_quantity    numeric,
    evidence_id       bigint,
    reconciliation_id bigint,
    buyer             text,
    dimension         text,
    said_by           text,
    is_earlier        boolean not null default false,
    settled_as        text,
    settled_by        bigint,
    our_quantity      numeric,
    decision_id       bigint,
    constraint contradiction_about check ((delivery_id is not null) <> (reconciliation_id is not null))
);
create index contradiction_open on postmeter.contradiction (id) where decision_id is null;
create index contradiction_by_delivery on postmeter.contradiction (delivery_id) where delivery_id is not null;
comment on table postmeter.contradiction is 'Evidence that says something else than what was settled: late proof that they hold what a person called not billed, gave back or gave up; another quantity; a day of which they hold another sum. A row of its own until a person has judged it. Both sides: view contradiction_list.';
comment on column postmeter.contradiction.id is 'Number of the contradiction.';
comment on column postmeter.contradiction.noted_at is 'When it was noted, on postmeter.clock().';
comment on column postmeter.contradiction.destination_id is 'The destination.';
comment on column postmeter.contradiction.delivery_id is 'The remittance; null: a day''s sum of a buyer and a dimension.';
comment on column postmeter.contradiction.source is 'What says so: late_evidence, reconciliation or person (a report that was resolved).';
comment on column postmeter.contradiction.says is 'What it says: they hold it, they hold another quantity, or they hold nothing.';
comment on column postmeter.contradiction.their_quantity is 'What they hold; null: they did not say.';
comment on column postmeter.contradiction.evidence_id is 'The late evidence; its attempt says which call it was.';
comment on column postmeter.contradiction.reconciliation_id is 'The question about a day that was answered so.';
comment on column postmeter.contradiction.buyer is 'Of a day''s sum: the buyer.';
comment on column postmeter.contradiction.dimension is 'Of a day''s sum: the dimension.';
comment on column postmeter.contradiction.said_by is 'Who asked or said so, if it was a person.';
comment on column postmeter.contradiction.is_earlier is 'The attempt is of an earlier cut than the one that stands now.';
comment on column postmeter.contradiction.settled_as is 'The remittance''s status when that was noted: our side.';
comment on column postmeter.contradiction.settled_by is 'The person''s decision that settled it so; null: answers did.';
comment on column postmeter.contradiction.our_quantity is 'Our quantity at that time.';
comment on column postmeter.contradiction.decision_id is 'The decision that judged it; null: it is open.';

create function postmeter.contradiction_stays() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and old.decision_id is null and new.decision_id is not null
       and to_jsonb(new) - 'decision_id' = to_jsonb(old) - 'decision_id' then
        return new;
    end if;
    raise exception 'a contradiction is evidence: it is judged, not edited'
        using errcode = 'PM020', hint = 'postmeter judge says what counts, with who and why.';
end
$$;
comment on function postmeter.contradiction_stays() is 'Trigger of contradiction: its row takes the decision that judges it, once, and nothing else.';
create trigger stays before update or delete on postmeter.contradiction
    for each row execute function postmeter.contradiction_stays();
create trigger append_only before truncate on postmeter.contradiction
    for each statement execute function postmeter.forbid_change();

-- doubts: what may have happened to settled remittances in a time that was lost -------------------------------------

create table postmeter.doubt (
    delivery_id bigint not null,
    break_id    bigint not null,
    noted_at    timestamptz not null default postmeter.clock(),
    status      text   not null,
    decision_id bigint,
    primary key (delivery_id, break_id)
);
create unique index doubt_open on postmeter.doubt (delivery_id) where decision_id is null;
comment on table postmeter.doubt is 'Settled remittances that may have been retried and accepted, or given to another hour, in a time that the database lost (timeline_break). Their status and the balance stay; sending or releasing them asks first: a person resolves them.';
comment on column postmeter.doubt.delivery_id is 'The remittance.';
comment on column postmeter.doubt.break_id is 'The break.';
comment on column postmeter.doubt.noted_at is 'When, on postmeter.clock().';
comment on column postmeter.doubt.status is 'Where it stood when the database came back.';
comment on column postmeter.doubt.decision_id is 'The decision that ended it; null: nobody has looked yet.';

create or replace function postmeter.timeline_went_back(who text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t       text;
    noted   bigint;
    -- commits are lost in order: this one is there, so nothing before it is lost
    last_at timestamptz := coalesce((select a.claimed_at from postmeter.attempt a order by a.id desc limit 1), '-infinity');
begin
    perform postmeter.check_decider(who, why);
    insert into postmeter.timeline_break (who, why, timeline, server_started_at)
    values (who, why, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), pg_postmaster_start_time())
    on conflict do nothing returning id into noted;
    if noted is null then
        return false;
    end if;
    -- what may have been sent in the time that was lost: only evidence or a person moves it on
    update postmeter.delivery d
    set maybe_billed = true, maybe_since = d.hour + interval '1 hour'
    from (select x.id from postmeter.delivery x
          where x.status in ('due', 'in_flight', 'held') and not x.maybe_billed and not x.shadow and x.body is not null
            and x.hour + interval '1 hour' <= postmeter.clock() order by x.id for update) o
    where d.id = o.id;
    -- what could still be sent after the last commit that survived, and every dead letter whose month is not closed
    insert into postmeter.doubt (delivery_id, break_id, status)
    select d.id, noted, d.status
    from postmeter.delivery d
    where d.status in ('rejected', 'expired', 'conflict', 'written_off', 'released') and not d.shadow and not d.maybe_billed and d.body is not null
      and (d.deadline > last_at
           or d.id in (select s.delivery_id from postmeter.stuck s)
              and not exists (select from postmeter.cut k join postmeter.meter m on m.id = k.meter_id
                              join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
                              where k.delivery_id = d.id))
    order by d.id
    on conflict do nothing;
    -- nothing moves by itself: what is stuck here may have been moved already in that time
    update postmeter.stuck s set again_at = null where s.again_at is not null;
    for t in select d.name from postmeter.destination d where not d.paused order by d.id loop
        perform postmeter.set_paused(t, true, who, why);
    end loop;
    return true;
end
$$;
comment on function postmeter.timeline_went_back(text, text) is
    'Says that commits were lost: pauses every destination, each with a decision, counts what may have been sent as possibly attempted, and notes a doubt about what was settled and may have been reopened. Workers call it; after a restore declare_installation does. False: this break is known already.';

create function postmeter.contradicted(delivery bigint) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (select format('the marketplace says otherwise: judge contradiction %s first', min(c.id))
         from postmeter.contradiction c where c.delivery_id = contradicted.delivery and c.decision_id is null having count(*) > 0),
        (select 'may have been sent in the time that was lost: look it up at the marketplace, then resolve it'
         from postmeter.doubt x where x.delivery_id = contradicted.delivery and x.decision_id is null),
        (select 'an answer to it came late and is about to be read: say it again in a moment'
         from postmeter.late_evidence e join postmeter.delivery d on d.id = e.delivery_id
         where e.delivery_id = contradicted.delivery and e.id > d.evidence_read and e.outcome in ('accepted', 'duplicate', 'conflict')
         limit 1))
$$;
comment on function postmeter.contradicted(bigint) is
    'Why a remittance must not be sent or given back now: evidence says otherwise than what was settled and nobody has judged it, or it is in doubt since commits were lost. Null: nothing is in the way.';

-- retry and release ask first; they stand in earlier migrations, and each of them keeps whatever else it has learnt
do $$
declare
    r record;
    was text;
    now text;
begin
    for r in select * from (values ('retry', '        if d.body is null then'), ('release', '        if d.maybe_billed then')) v(name, anchor) loop
        was := pg_catalog.pg_get_functiondef(format('postmeter.%I(jsonb, text, text, boolean)', r.name)::regprocedure);
        now := regexp_replace(was, r.anchor, E'        note := postmeter.contradicted(d.id);\n        if note is not null then\n            null;\n        els' || ltrim(r.anchor));
        if now = was then
            raise exception '% has no place to ask at', r.name;
        end if;
        execute now;
    end loop;
end
$$;

create function postmeter.note_contradictions(deliveries bigint[]) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    noted bigint[];
begin
    -- read before the review moves them, in the transaction that holds them locked
    with said as materialized (
        select e.id, e.delivery_id, e.outcome, e.shown_quantity,
               coalesce((select a.claimed_at < d.cut_at from postmeter.attempt a where a.id = e.attempt_id), false) as is_earlier
        from postmeter.late_evidence e
        join postmeter.delivery d on d.id = e.delivery_id
        where e.delivery_id = any (deliveries) and e.id > d.evidence_read and d.status <> 'in_flight' and not d.shadow
    ), weighed as materialized (
        select d.id, d.destination_id, s.is_earlier, d.status, d.quantity, d.maybe_billed, d.shown_quantity, d.confirmed,
               max(s.id) filter (where s.outcome in ('accepted', 'duplicate', 'conflict')) as proof,
               max(s.id) as last,
               bool_or(s.outcome in ('accepted', 'duplicate')) as is_held, bool_or(s.outcome = 'conflict') as is_conflict,
               bool_or(s.outcome in ('rejected', 'not_entitled', 'batch_refused', 'unauthorised', 'too_old', 'not_sent', 'no_credentials', 'unmapped')) as is_refused,
               max(s.shown_quantity) as shown,
               (select c.id from postmeter.decision c
                where c.delivery_id = d.id and c.verb in ('resolve', 'release', 'write_off', 'hold', 'judge') order by c.id desc limit 1) as settled_by,
               (select (c.detail ->> 'billed')::boolean from postmeter.decision c
                where c.delivery_id = d.id and c.verb = 'resolve' and c.decided_at >= d.cut_at order by c.id desc limit 1) as said_billed,
               -- what was sent then: a release says what it gave back
               (select c.quantity from postmeter.decision c
                where c.delivery_id = d.id and c.verb = 'release' and s.is_earlier order by c.id desc limit 1) as earlier_quantity
        from said s join postmeter.delivery d on d.id = s.delivery_id
        group by d.id, s.is_earlier
    ), found as materialized (
        select w.*, case
            when w.is_earlier and (w.is_held or w.is_conflict) then case when w.is_held then 'held' else 'other_quantity' end
            when w.is_earlier then null
            -- nothing is settled yet: the evidence settles it, and contradicts only who said that they hold nothing
            when w.maybe_billed or w.status in ('due', 'held') then
                case when w.maybe_billed or w.said_billed is distinct from false then null
                     when w.is_held then 'held' when w.is_conflict then 'other_quantity' end
            when w.status = 'accepted' then
                case when w.is_conflict and (w.shown is null or w.shown <> coalesce(w.shown_quantity, w.quantity)) then 'other_quantity'
                     when w.is_held and w.shown <> coalesce(w.shown_quantity, w.quantity) then 'other_quantity'
                     when not w.is_held and not w.is_conflict and w.is_refused and w.said_billed
                      and not exists (select from postmeter.attempt a left join postmeter.outcome o on o.attempt_id = a.id
                                      where a.delivery_id = w.id and a.id not in (select e.attempt_id from postmeter.late_evidence e where e.delivery_id = w.id)
                                        and coalesce(o.outcome, 'unknown') in ('unknown', 'accepted', 'duplicate')) then 'not_held' end
            when w.status = 'conflict' then
                case when w.is_held then 'held' when w.is_conflict and w.shown <> w.shown_quantity then 'other_quantity' end
            when w.is_held or w.is_conflict and w.shown = w.quantity then 'held'
            when w.is_conflict then 'other_quantity' end as says
        from weighed w
    ), written as (
        insert into postmeter.contradiction (destination_id, delivery_id, source, says, their_quantity, evidence_id, is_earlier, settled_as, settled_by, our_quantity)
        select f.destination_id, f.id, 'late_evidence', f.says,
               case when f.says = 'not_held' then 0
                    else coalesce(f.shown, case when f.says = 'held' then case when f.is_earlier then f.earlier_quantity else f.quantity end end) end,
               case when f.says = 'not_held' then f.last else f.proof end, f.is_earlier, f.status, f.settled_by, f.quantity
        from found f
        where f.says is not null
          -- said twice, it is one contradiction
          and not exists (select from postmeter.contradiction c
                          where c.delivery_id = f.id and c.decision_id is null and c.says = f.says
                            and (f.shown is null or c.their_quantity is not distinct from f.shown))
        returning delivery_id
    )
    select array_agg(w.delivery_id) into noted from written w;
    -- nothing moves by itself before somebody has judged it
    update postmeter.stuck s set again_at = null where s.delivery_id = any (noted) and s.again_at is not null;
    return coalesce(cardinality(noted), 0);
end
$$;
comment on function postmeter.note_contradictions(bigint[]) is
    'Notes which of these locked deliveries have unread late evidence that contradicts what was settled: a part of review, before it moves them. Returns how many.';

create function postmeter.note_day_contradictions(destination text, day date, who text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    asked postmeter.reconciliation;
    noted integer;
    decided bigint;
    c     record;
begin
    select r.* into asked from postmeter.reconciliation r join postmeter.destination t on t.id = r.destination_id
    where t.name = note_day_contradictions.destination and r.day = note_day_contradictions.day order by r.id desc limit 1;
    -- a day that goes on differs by what is still on its way
    if not found or (day + 1)::timestamp at time zone 'UTC' > asked.asked_at then
        return 0;
    end if;
    insert into postmeter.contradiction (destination_id, source, says, their_quantity, reconciliation_id, buyer, dimension, said_by, settled_as, our_quantity)
    select asked.destination_id, 'reconciliation', case r.verdict when 'ours_alone' then 'not_held' when 'theirs_alone' then 'held' else 'other_quantity' end,
           coalesce(r.theirs, 0), asked.id, r.buyer, r.dimension, who, case when r.ours is null then null else 'accepted' end, coalesce(r.ours, 0)
    from postmeter.reconciled r
    where r.destination = note_day_contradictions.destination and r.day = note_day_contradictions.day and r.verdict <> 'equal'
      and not exists (select from postmeter.meter m join postmeter.delivery d on d.meter_id = m.id
                      where m.destination_id = asked.destination_id and m.buyer = r.buyer and m.dimension = r.dimension
                        and m.month between date_trunc('month', asked.day - 1)::date and date_trunc('month', asked.day + 1)::date
                        and d.hour >= asked.day::timestamp at time zone 'UTC' and d.hour < (asked.day + 1)::timestamp at time zone 'UTC'
                        and (d.status in ('open', 'due', 'in_flight', 'unknown') or d.maybe_billed))
      and not exists (select from postmeter.contradiction o
                      left join postmeter.reconciliation b on b.id = o.reconciliation_id
                      where b.destination_id = asked.destination_id and b.day = asked.day and o.buyer = r.buyer and o.dimension = r.dimension
                        and o.their_quantity = coalesce(r.theirs, 0) and o.our_quantity = coalesce(r.ours, 0))
    order by r.buyer, r.dimension;
    get diagnostics noted = row_count;
    -- what they said before and say no more is over: they are asked about the same day again, and agree or say another sum
    for c in select o.id, o.says from postmeter.contradiction o
             join postmeter.reconciliation b on b.id = o.reconciliation_id and b.destination_id = asked.destination_id and b.day = asked.day
             left join postmeter.reconciled r on r.destination = note_day_contradictions.destination and r.day = asked.day
              and r.buyer = o.buyer and r.dimension = o.dimension and r.verdict <> 'equal'
             where o.decision_id is null
               and (r.buyer is null or coalesce(r.theirs, 0) <> o.their_quantity or coalesce(r.ours, 0) <> o.our_quantity)
             order by o.id for update of o loop
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after, detail)
        values (who, 'asked again: they no longer say so', 'judge', asked.destination_id, 'open', 'over',
                jsonb_build_object('contradiction', c.id, 'says', c.says)) returning id into decided;
        update postmeter.contradiction o set decision_id = decided where o.id = c.id;
    end loop;
    return noted;
end
$$;
comment on function postmeter.note_day_contradictions(text, date, text) is
    'Notes what the latest answer about a day contradicts: sums of a buyer and dimension that are settled here and other there. A day that is not over, or of which something is still on its way, is not compared. What an earlier answer said and this one does not is closed. Returns how many are new.';

create function postmeter.note_said(d postmeter.delivery, held numeric, billed boolean, who text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    what  text;
    noted bigint;
begin
    what := case
        when d.maybe_billed or d.shadow then null
        when d.status = 'accepted' and not billed then 'not_held'
        when d.status = 'accepted' and held <> coalesce(d.shown_quantity, d.quantity) then 'other_quantity'
        when d.status = 'conflict' and held <> d.shown_quantity then 'other_quantity'
        when d.status in ('rejected', 'expired', 'written_off', 'released') and billed
            then case when held <> d.quantity then 'other_quantity' else 'held' end end;
    if what is null then
        return null;
    end if;
    select c.id into noted from postmeter.contradiction c
    where c.delivery_id = d.id and c.decision_id is null and c.says = what
      and c.their_quantity is not distinct from case when what = 'not_held' then 0 when what = 'held' then d.quantity else held end;
    if noted is null then
        insert into postmeter.contradiction (destination_id, delivery_id, source, says, their_quantity, said_by, settled_as, settled_by, our_quantity)
        values (d.destination_id, d.id, 'person', what, case when what = 'not_held' then 0 when what = 'held' then d.quantity else held end, who, d.status,
                (select c.id from postmeter.decision c
                 where c.delivery_id = d.id and c.verb in ('resolve', 'release', 'write_off', 'hold', 'judge') order by c.id desc limit 1), d.quantity)
        returning id into noted;
        update postmeter.stuck s set again_at = null where s.delivery_id = d.id and s.again_at is not null;
    end if;
    return noted;
end
$$;
comment on function postmeter.note_said(postmeter.delivery, numeric, boolean, text) is
    'Notes what a person''s report says otherwise than a locked delivery was settled: a part of resolve_rows. Returns the contradiction; null: there is none.';

-- a report that is resolved says what it contradicts
do $$
declare
    was text := pg_catalog.pg_get_functiondef('postmeter.resolve_rows(jsonb, text, text, boolean)'::regprocedure);
    now text;
begin
    now := replace(was, 'from postmeter.held_verdict(r, h.quantity, h.billed) v;', $p$from postmeter.held_verdict(r, h.quantity, h.billed) v;
            if not dry_run and verdict in ('other_quantity', 'nothing_to_resolve') then
                note := coalesce('contradiction ' || postmeter.note_said(r, h.quantity, h.billed, who) || ' for postmeter judge: ', '') || note;
            end if;$p$);
    now := replace(now, 'if status_after <> status_before and not dry_run then',
                   'if (status_after <> status_before or verdict in (''billed'', ''not_billed'')) and not dry_run then');
    if now = was then
        raise exception 'resolve_rows has no place to note at';
    end if;
    execute now;
    -- and of what is in doubt, what they hold
    was := pg_catalog.pg_get_functiondef('postmeter.held_verdict(postmeter.delivery, numeric, boolean)'::regprocedure);
    now := replace(was, '    status_after := d.status;
', $p$    status_after := d.status;
    if not d.maybe_billed and (coalesce(held, 0) = 0 or held = d.quantity)
       and exists (select from postmeter.doubt x where x.delivery_id = d.id and x.decision_id is null) then
        verdict := case when billed then 'billed' else 'not_billed' end;
        status_after := case when billed and d.status <> 'released' then 'accepted' else d.status end;
        return;
    end if;
$p$);
    if now = was then
        raise exception 'held_verdict has no place to ask at';
    end if;
    execute now;
    was := pg_catalog.pg_get_functiondef('postmeter.resolve_unknown(bigint, boolean, text, text)'::regprocedure);
    now := regexp_replace(was, '    changed := true;
', $p$    changed := true;
    if not d.maybe_billed and exists (select from postmeter.doubt x where x.delivery_id = d.id and x.decision_id is null) then
        status := postmeter.resolve_doubt(d, billed, who, why);
        return;
    end if;
$p$);
    if now = was then
        raise exception 'resolve_unknown has no place to ask at';
    end if;
    execute now;
end
$$;

create function postmeter.resolve_doubt(d postmeter.delivery, billed boolean, who text, why text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    after   text := case when billed and d.status <> 'released' then 'accepted' else d.status end;
    decided bigint;
begin
    if billed and d.status = 'released' then
        -- its quantity went to another hour: what counts is for the person to judge
        insert into postmeter.contradiction (destination_id, delivery_id, source, says, their_quantity, said_by, settled_as, settled_by, our_quantity)
        select d.destination_id, d.id, 'person', 'held', d.quantity, who, d.status,
               (select max(c.id) from postmeter.decision c where c.delivery_id = d.id and c.verb = 'release'), d.quantity
        where not exists (select from postmeter.contradiction o where o.delivery_id = d.id and o.decision_id is null and o.says = 'held');
    elsif after <> d.status then
        update postmeter.delivery u
        set status = after, reason = null, confirmed = false, changed_at = postmeter.clock()
        where u.id = d.id;
    end if;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
    values (who, why, 'resolve', d.id, d.status, after, d.quantity, jsonb_build_object('billed', billed, 'doubt', true))
    returning id into decided;
    update postmeter.doubt x set decision_id = decided where x.delivery_id = d.id and x.decision_id is null;
    return after;
end
$$;
comment on function postmeter.resolve_doubt(postmeter.delivery, boolean, text, text) is
    'A person says of a locked remittance in doubt whether it was billed in the time that was lost: a part of resolve_unknown. Billed, it is accepted (if it was released: a contradiction, to be judged); not billed, it stays as it is and may be corrected.';

create function postmeter.judge(contradiction bigint, counts text, who text, why text, out status text, out changed boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    c       postmeter.contradiction;
    d       postmeter.delivery;
    part    record;
    after   text;
    decided bigint;
    now     timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    if counts is null or counts not in ('ours', 'theirs') then
        raise exception 'counts cannot be %', coalesce(quote_literal(counts), 'null')
            using errcode = 'PM037', column = 'counts', constraint = 'judge_counts', hint = 'ours: what was settled stands; theirs: it is counted as they say.';
    end if;
    perform postmeter.month_gate();
    select x.* into c from postmeter.contradiction x where x.id = judge.contradiction;
    if not found then
        raise exception 'there is no contradiction %', judge.contradiction
            using errcode = 'PM033', column = 'contradiction', constraint = 'contradiction_exists', hint = 'postmeter.contradiction_list lists them.';
    end if;
    -- meters first, then the remittance: the same order as the cut
    perform postmeter.lock_meters(array(select k.meter_id from postmeter.cut k where k.delivery_id = c.delivery_id));
    select f.* into d from postmeter.delivery f where f.id = c.delivery_id for update;
    select x.* into c from postmeter.contradiction x where x.id = judge.contradiction for update;
    status := d.status;
    changed := c.decision_id is null;
    if not changed then
        if exists (select from postmeter.decision x where x.id = c.decision_id and x.detail ->> 'counts' = counts) then
            return;
        end if;
        raise exception 'contradiction % was judged before, by decision %', c.id, c.decision_id
            using errcode = 'PM034', column = 'contradiction', constraint = 'contradiction_open', hint = 'postmeter.decision_log says by whom, and why.';
    end if;
    after := d.status;
    if counts = 'theirs' then
        if c.delivery_id is null or c.is_earlier or d.status not in ('accepted', 'rejected', 'expired', 'conflict', 'written_off', 'released', 'held') or d.maybe_billed
           or d.body is null then
            raise exception 'contradiction % cannot be counted as they say', c.id
                using errcode = 'PM034', column = 'counts', constraint = 'judge_theirs',
                      hint = case when c.delivery_id is null then 'It is about the sum of a day: correct its remittances (resolve, write off), then let ours stand.'
                                  when c.is_earlier then 'They speak of what was sent before the remittance was counted anew: agree with their support on what counts, then let ours stand.'
                                  else 'The remittance is on its way: wait until it is settled.' end;
        end if;
        after := case c.says when 'held' then 'accepted' when 'other_quantity' then 'conflict' else 'rejected' end;
        if d.status = 'released' and after <> 'rejected' then
            if exists (select from postmeter.cut k join postmeter.meter m on m.id = k.meter_id
                       join postmeter.closed_month x on x.destination_id = m.destination_id and x.month = m.month
                       where k.delivery_id = d.id) then
                raise exception 'the month of contradiction % is closed', c.id
                    using errcode = 'PM034', column = 'counts', constraint = 'judge_month', hint = 'Reopen the month first, or let ours stand.';
            end if;
            -- what was given back is billed here after all: if it was billed elsewhere meanwhile, that is credit now
            for part in select k.meter_id, sum(k.to_bill) as to_bill from postmeter.cut k where k.delivery_id = d.id group by 1 order by 1 loop
                update postmeter.meter m
                set billed = trim_scale(m.billed + part.to_bill), carried = trim_scale(m.carried - part.to_bill * m.denominator),
                    billable = trim_scale(greatest(0, m.billable - part.to_bill))
                where m.id = part.meter_id;
            end loop;
        end if;
        update postmeter.delivery u
        set status = after, reason = null, changed_at = now, maybe_billed = false, maybe_since = null,
            confirmed = case when after = 'accepted' then true end,
            shown_quantity = case when after = 'rejected' then null else coalesce(c.their_quantity, u.shown_quantity) end
        where u.id = d.id;
    end if;
    insert into postmeter.decision (who, why, verb, delivery_id, destination_id, status_before, status_after, quantity, detail)
    values (who, why, 'judge', c.delivery_id, c.destination_id, d.status, after, d.quantity,
            jsonb_strip_nulls(jsonb_build_object('contradiction', c.id, 'counts', counts, 'says', c.says, 'their_quantity', c.their_quantity::text)))
    returning id into decided;
    update postmeter.contradiction x set decision_id = decided where x.id = c.id;
    update postmeter.doubt x set decision_id = decided where x.delivery_id = d.id and x.decision_id is null;
    status := after;
end
$$;
comment on function postmeter.judge(bigint, text, text, text) is
    'A person judges a contradiction. ours: what was settled stands, whatever they say. theirs: the remittance counts as they say: accepted, a conflict with their quantity, or, where they hold nothing of what was called accepted, rejected; what a release had given back is taken back from its meters, and is credit if it was billed elsewhere meanwhile. Returns the remittance''s status; changed is false if the same was judged before.';

create view postmeter.contradiction_list as
select c.id, c.noted_at, t.name as destination, c.delivery_id, d.key, coalesce(c.buyer, m.buyer) as buyer, coalesce(c.dimension, m.dimension) as dimension,
       d.hour, b.day, c.source, c.says, trim_scale(c.their_quantity) as their_quantity, e.attempt_id, e.outcome, e.code, e.receipt, e.their_request_id,
       coalesce(e.recorded_at, b.asked_at, c.noted_at) as said_at, c.said_by, c.is_earlier,
       c.settled_as, trim_scale(c.our_quantity) as our_quantity, s.verb as settled_verb, s.who as settled_by, s.why as settled_why, s.decided_at as settled_at,
       d.status, (c.decision_id is null) as is_open, j.detail ->> 'counts' as counts, j.who as judged_by, j.why as judged_why, j.decided_at as judged_at
from postmeter.contradiction c
join postmeter.destination t on t.id = c.destination_id
left join postmeter.delivery d on d.id = c.delivery_id
left join postmeter.meter m on m.id = d.meter_id
left join postmeter.late_evidence e on e.id = c.evidence_id
left join postmeter.reconciliation b on b.id = c.reconciliation_id
left join postmeter.decision s on s.id = c.settled_by
left join postmeter.decision j on j.id = c.decision_id;
comment on view postmeter.contradiction_list is
    'Contradictions with both sides: what they say, by which attempt or answer; as what it was settled here, by whom and why; and who judged it. Open ones need a person: postmeter judge.';
comment on column postmeter.contradiction_list.id is 'Number of the contradiction.';
comment on column postmeter.contradiction_list.noted_at is 'When it was noted, on postmeter.clock().';
comment on column postmeter.contradiction_list.destination is 'The destination''s name.';
comment on column postmeter.contradiction_list.delivery_id is 'The remittance; null: a day''s sum of a buyer and a dimension.';
comment on column postmeter.contradiction_list.key is 'The remittance''s canonical key.';
comment on column postmeter.contradiction_list.buyer is 'The buyer in canonical text.';
comment on column postmeter.contradiction_list.dimension is 'The marketplace''s dimension.';
comment on column postmeter.contradiction_list.hour is 'The remittance''s hour, UTC.';
comment on column postmeter.contradiction_list.day is 'Of a day''s sum: the day.';
comment on column postmeter.contradiction_list.source is 'What says so: late_evidence, reconciliation or person (a report that was resolved).';
comment on column postmeter.contradiction_list.says is 'What it says: they hold it, they hold another quantity, or they hold nothing.';
comment on column postmeter.contradiction_list.their_quantity is 'What they hold; null: they did not say.';
comment on column postmeter.contradiction_list.attempt_id is 'Their side: the attempt that was answered late.';
comment on column postmeter.contradiction_list.outcome is 'Its outcome.';
comment on column postmeter.contradiction_list.code is 'The marketplace''s code in it.';
comment on column postmeter.contradiction_list.receipt is 'Their receipt.';
comment on column postmeter.contradiction_list.their_request_id is 'Their number of the request, for their support.';
comment on column postmeter.contradiction_list.said_at is 'When they said so.';
comment on column postmeter.contradiction_list.said_by is 'Who asked or said so, if it was a person.';
comment on column postmeter.contradiction_list.is_earlier is 'The attempt is of an earlier cut than the one that stands now.';
comment on column postmeter.contradiction_list.settled_as is 'Our side: the remittance''s status when it was noted.';
comment on column postmeter.contradiction_list.our_quantity is 'Our quantity at that time.';
comment on column postmeter.contradiction_list.settled_verb is 'The verb of the decision that settled it so; null: answers did.';
comment on column postmeter.contradiction_list.settled_by is 'Who decided that.';
comment on column postmeter.contradiction_list.settled_why is 'Why.';
comment on column postmeter.contradiction_list.settled_at is 'When.';
comment on column postmeter.contradiction_list.status is 'The remittance''s status now.';
comment on column postmeter.contradiction_list.is_open is 'Nobody has judged it yet.';
comment on column postmeter.contradiction_list.counts is 'What counts, as it was judged: ours or theirs.';
comment on column postmeter.contradiction_list.judged_by is 'Who judged it.';
comment on column postmeter.contradiction_list.judged_why is 'Why.';
comment on column postmeter.contradiction_list.judged_at is 'When.';

-- the one list of what needs a person gets one class more, and keeps what stands in it
do $$
begin
    execute format($v$
        create or replace view postmeter.dead_letter as
        select l.delivery_id, l.usage_id, l.destination, l.class, l.code, l.org, l.product, l.metric, l.dimension, l.hour, l.key, l.quantity, l.amount,
               l.currency, l.since, l.deadline, l.maybe_billed,
               case when x.delivery_id is null then l.what_to_do
                    else 'may have been sent in the time that was lost: look it up at the marketplace, then resolve' end as what_to_do,
               l.orgs, l.item
        from (%s) l
        left join postmeter.doubt x on x.delivery_id = l.delivery_id and x.decision_id is null
        union all
        select c.delivery_id, null::uuid, t.name, 'contradiction', c.says, null::text, d.product, null::text, coalesce(c.dimension, m.dimension), d.hour,
               coalesce(d.key, c.buyer || '/' || c.dimension || ', ' || b.day::text), coalesce(c.their_quantity, c.our_quantity), null::numeric, null::text,
               c.noted_at, d.deadline, coalesce(d.maybe_billed, false),
               case when c.delivery_id is null or c.is_earlier
                    then 'compare with what they hold, then judge contradiction ' || c.id || ' as ours'
                    else 'compare with what they hold, then judge contradiction ' || c.id || ' as theirs or ours' end,
               '{}'::text[], 'contradiction ' || c.id
        from postmeter.contradiction c
        join postmeter.destination t on t.id = c.destination_id
        left join postmeter.delivery d on d.id = c.delivery_id
        left join postmeter.meter m on m.id = d.meter_id
        left join postmeter.reconciliation b on b.id = c.reconciliation_id
        where c.decision_id is null
        order by 13 desc nulls last, 12 desc nulls last, 15$v$,
        rtrim(pg_catalog.pg_get_viewdef('postmeter.dead_letter'::regclass), '; '));
end
$$;

-- which installation this is ------------------------------------------------------------------------------------------

create table postmeter.installation (
    only_row   boolean not null default true primary key check (only_row),
    name       text    check (name <> ''),
    server     text,
    timeline   text,
    position   pg_lsn,
    is_copy    boolean not null default false,
    settled_at timestamptz,
    constraint installation_settled check ((server is null) = (settled_at is null) and (server is null) = (timeline is null) and (server is null) = (position is null))
);
comment on table postmeter.installation is 'Which installation this database is, and on which server it was so: a copy brings this row along, and stands elsewhere. Written when a worker starts for the first time, when one that remembers proves a failover, and by declare_installation.';
comment on column postmeter.installation.only_row is 'Always true: there is one row.';
comment on column postmeter.installation.name is 'The name that workers bring (their setting installation); null: none has brought one.';
comment on column postmeter.installation.server is 'Identity of server and database: server_identity() when it was settled. Null: nobody has worked here yet.';
comment on column postmeter.installation.timeline is 'The server''s timeline that was proven last.';
comment on column postmeter.installation.position is 'Where it stood then.';
comment on column postmeter.installation.is_copy is 'A person said that this is a copy: nothing is sent from here.';
comment on column postmeter.installation.settled_at is 'When that was settled last; the server''s time.';

create function postmeter.server_identity() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    database text := (select d.oid::text from pg_database d where d.datname = current_database());
begin
    -- a managed server may keep it to itself: then only the database's number tells
    if has_function_privilege('pg_catalog.pg_control_system()', 'execute') then
        return (select s.system_identifier::text from pg_control_system() s) || '/' || database;
    end if;
    return '-/' || database;
end
$$;
comment on function postmeter.server_identity() is
    'The server''s system identifier and the database''s number: a standby has both, a restored or copied database never has. Where the server does not tell its identifier, a dash stands for it.';

create function postmeter.installation_doubt() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    i   postmeter.installation;
    now text := substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8);
begin
    select x.* into i from postmeter.installation x;
    return case
        when i.server is null then null
        when i.is_copy then 'this database was declared a copy'
        when i.server <> postmeter.server_identity()
            then format('this database was copied or restored: its installation stands at server/database %s, and this is %s', i.server, postmeter.server_identity())
        when i.timeline <> now
            then format('the server is on timeline %s and was on %s, and no worker that remembers its last commits has found them here', now, i.timeline)
        when i.position > pg_current_wal_insert_lsn()
            then format('the server stands at %s and stood at %s', pg_current_wal_insert_lsn(), i.position) end;
end
$$;
comment on function postmeter.installation_doubt() is
    'Why nobody knows whether this database is the installation: then nothing is claimed, until a person has declared what it is. Null: it is.';

create function postmeter.settle_installation(name text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    known text;
begin
    update postmeter.installation i
    set server = postmeter.server_identity(), timeline = substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
        position = pg_current_wal_flush_lsn(), settled_at = clock_timestamp()
    where i.server is null;
    update postmeter.installation i set name = settle_installation.name where i.name is null and settle_installation.name is not null;
    select i.name into known from postmeter.installation i;
    return case
        when known is null or known = settle_installation.name then null
        when settle_installation.name is null then format('this database serves the installation %s, and this worker was not told which one it serves: set installation in section [worker]', quote_literal(known))
        else format('this database serves the installation %s, and this worker is configured for %s', quote_literal(known), quote_literal(settle_installation.name)) end;
end
$$;
comment on function postmeter.settle_installation(text) is
    'A worker starts, for the installation of this name (null: none was configured). The first one settles on which server the installation is, the first name what it is called. Returns why this worker must not send from here; null: it may.';

create function postmeter.installation_went_on(seen text) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.installation i
    set timeline = substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), position = pg_current_wal_flush_lsn(), settled_at = clock_timestamp()
    where i.server = postmeter.server_identity() and not i.is_copy and i.timeline = seen
      and i.timeline <> substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
$$;
comment on function postmeter.installation_went_on(text) is
    'A worker that remembers the last commits of this timeline, and saw them before a failover, has looked for them here: they are all there, or it has noted the break. Only on the very server and database that the installation was settled at.';

create function postmeter.declare_installation(what text, who text, why text, nothing_lost boolean default false, name text default null) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    i     postmeter.installation;
    doubt text;
    t     text;
begin
    perform postmeter.check_decider(who, why);
    if what is null or what not in ('original', 'copy') then
        raise exception 'an installation cannot be declared %', coalesce(quote_literal(what), 'null')
            using errcode = 'PM037', column = 'what', constraint = 'installation_what', hint = 'original: workers send from here; copy: nobody does.';
    end if;
    select x.* into i from postmeter.installation x for update;
    doubt := postmeter.installation_doubt();
    if (what = 'copy' and i.is_copy or what = 'original' and doubt is null) and (name is null or name = i.name) then
        return false;
    end if;
    if what = 'original' and doubt is not null and not nothing_lost then
        perform postmeter.timeline_went_back(who, why);
        -- known already, if this server has noted a break before: what is not paused for it is paused now
        for t in select d.name from postmeter.destination d where not d.paused order by d.id loop
            perform postmeter.set_paused(t, true, who, why);
        end loop;
    end if;
    update postmeter.installation x
    set name = coalesce(declare_installation.name, x.name), server = postmeter.server_identity(), position = pg_current_wal_flush_lsn(),
        timeline = substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), is_copy = what = 'copy', settled_at = clock_timestamp();
    insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
    values (who, why, 'declare', case when i.is_copy then 'copy' when doubt is null then 'original' else 'unclear' end, what,
            jsonb_strip_nulls(jsonb_build_object('doubt', doubt, 'server', i.server, 'nothing_lost', nothing_lost, 'name', coalesce(name, i.name))));
    return true;
end
$$;
comment on function postmeter.declare_installation(text, text, text, boolean, text) is
    'A person says what this database is. copy: nothing is sent from here. original: it is the installation, on this server from now on; unless nothing was lost, what may have been sent since it was copied counts as possibly attempted, and every destination is paused until it is resumed (timeline_went_back). A name renames it. False: it was so already.';

-- where somebody has sent before, this server is the installation's; elsewhere the first worker settles it
insert into postmeter.installation (server, timeline, position, settled_at)
select x.server, x.timeline, x.position, x.settled_at
from (values (postmeter.server_identity(), substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), pg_current_wal_flush_lsn(), clock_timestamp())) x(server, timeline, position, settled_at)
where exists (select from postmeter.attempt)
union all
select null, null, null, null where not exists (select from postmeter.attempt);

insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('contradiction', 'critical', '30 seconds', '0', '10 seconds'),
    ('installation_unclear', 'critical', '15 seconds', '0', '10 seconds');

revoke execute on function postmeter.resolve_doubt(postmeter.delivery, boolean, text, text), postmeter.contradiction_stays(), postmeter.note_said(postmeter.delivery, numeric, boolean, text), postmeter.contradicted(bigint), postmeter.note_contradictions(bigint[]),
    postmeter.note_day_contradictions(text, date, text), postmeter.judge(bigint, text, text, text), postmeter.server_identity(),
    postmeter.installation_doubt(), postmeter.settle_installation(text), postmeter.installation_went_on(text),
    postmeter.declare_installation(text, text, text, boolean, text) from public;
grant select on postmeter.doubt, postmeter.contradiction, postmeter.contradiction_list, postmeter.installation to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.contradicted(bigint), postmeter.server_identity(), postmeter.installation_doubt()
    to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.note_contradictions(bigint[]), postmeter.settle_installation(text), postmeter.installation_went_on(text)
    to postmeter_worker;
grant execute on function postmeter.note_day_contradictions(text, date, text) to postmeter_operator, postmeter_worker;
grant execute on function postmeter.judge(bigint, text, text, text), postmeter.declare_installation(text, text, text, boolean, text) to postmeter_operator;

insert into postmeter.migration (version, name) values (44, '0044_pre_evidence');
