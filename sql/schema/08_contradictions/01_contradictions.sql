-- Evidence that contradicts what was settled.

create table postmeter.contradiction (
    id                bigint      generated always as identity primary key,
    noted_at          timestamptz not null default postmeter.clock(),
    destination_id    integer     not null,
    delivery_id       bigint,
    source            text        not null check (source in ('late_evidence', 'reconciliation', 'person')),
    says              text        not null check (says in ('held', 'other_quantity', 'not_held')),
    their_quantity    numeric,
    evidence_id       bigint,
    reconciliation_id bigint,
    buyer             text,
    dimension         text,
    said_by           text,
    is_earlier        boolean     not null default false,
    settled_as        text,
    settled_by        bigint,
    our_quantity      numeric,
    decision_id       bigint,
    constraint contradiction_about check ((delivery_id is not null) <> (reconciliation_id is not null))
);
create index contradiction_open on postmeter.contradiction (id) where decision_id is null;
create index contradiction_by_delivery on postmeter.contradiction (delivery_id) where delivery_id is not null;
comment on table postmeter.contradiction is
    'Evidence that says something else than what was settled: late proof that they hold what a person called not '
    'billed, gave back or gave up; another quantity; a day of which they hold another sum. A row of its own until '
    'a person has judged it. Both sides: view contradiction_list.';
comment on column postmeter.contradiction.id is 'Number of the contradiction.';
comment on column postmeter.contradiction.noted_at is 'When it was noted, on postmeter.clock().';
comment on column postmeter.contradiction.destination_id is 'The destination.';
comment on column postmeter.contradiction.delivery_id is
    'The remittance; null: a day''s sum of a buyer and a dimension.';
comment on column postmeter.contradiction.source is
    'What says so: late_evidence, reconciliation or person (a report that was resolved).';
comment on column postmeter.contradiction.says is
    'What it says: they hold it, they hold another quantity, or they hold nothing.';
comment on column postmeter.contradiction.their_quantity is 'What they hold; null: they did not say.';
comment on column postmeter.contradiction.evidence_id is 'The late evidence; its attempt says which call it was.';
comment on column postmeter.contradiction.reconciliation_id is 'The question about a day that was answered so.';
comment on column postmeter.contradiction.buyer is 'Of a day''s sum: the buyer.';
comment on column postmeter.contradiction.dimension is 'Of a day''s sum: the dimension.';
comment on column postmeter.contradiction.said_by is 'Who asked or said so, if it was a person.';
comment on column postmeter.contradiction.is_earlier is
    'The attempt is of an earlier cut than the one that stands now.';
comment on column postmeter.contradiction.settled_as is 'The remittance''s status when that was noted: our side.';
comment on column postmeter.contradiction.settled_by is 'The person''s decision that settled it so; null: answers did.';
comment on column postmeter.contradiction.our_quantity is 'Our quantity at that time.';
comment on column postmeter.contradiction.decision_id is 'The decision that judged it; null: it is open.';
create trigger append_only before truncate on postmeter.contradiction
    for each statement execute function postmeter.forbid_change();

create table postmeter.doubt (
    delivery_id bigint      not null,
    break_id    bigint      not null,
    noted_at    timestamptz not null default postmeter.clock(),
    status      text        not null,
    decision_id bigint,
    primary key (delivery_id, break_id)
);
create unique index doubt_open on postmeter.doubt (delivery_id) where decision_id is null;
comment on table postmeter.doubt is
    'Settled remittances that may have been retried and accepted, or given to another hour, in a time that the '
    'database lost (timeline_break). Their status and the balance stay; sending or releasing them asks first: a '
    'person resolves them.';
comment on column postmeter.doubt.delivery_id is 'The remittance.';
comment on column postmeter.doubt.break_id is 'The break.';
comment on column postmeter.doubt.noted_at is 'When, on postmeter.clock().';
comment on column postmeter.doubt.status is 'Where it stood when the database came back.';
comment on column postmeter.doubt.decision_id is 'The decision that ended it; null: nobody has looked yet.';

create function postmeter.forbid_change_of_contradiction() returns trigger
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
comment on function postmeter.forbid_change_of_contradiction() is
    'Trigger of contradiction: its row takes the decision that judges it, once, and nothing else.';
create trigger stays before delete or update on postmeter.contradiction
    for each row execute function postmeter.forbid_change_of_contradiction();

create function postmeter.contradicted(delivery bigint) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (select
            'stands for no hour: it may have been billed with another one in the time that was lost. Resolve it as '
                'billed or not billed'
         from postmeter.withheld w where w.delivery_id = contradicted.delivery),
        (select format('the marketplace says otherwise: judge contradiction %s first', min(c.id))
         from postmeter.contradiction c where c.delivery_id = contradicted.delivery
             and c.decision_id is null having count(*) > 0),
        (select 'may have been sent in the time that was lost: look it up at the marketplace, then resolve it'
         from postmeter.doubt x where x.delivery_id = contradicted.delivery and x.decision_id is null),
        (select 'an answer to it came late and is about to be read: say it again in a moment'
         from postmeter.late_evidence e join postmeter.delivery d on d.id = e.delivery_id
         where e.delivery_id = contradicted.delivery and e.id > d.evidence_read
             and e.outcome in ('accepted', 'duplicate', 'conflict')
         limit 1))
$$;
comment on function postmeter.contradicted(bigint) is
    'Why a remittance must not be sent or given back now: evidence says otherwise than what was settled and nobody '
    'has judged it, or it is in doubt since commits were lost. Null: nothing is in the way.';

create function postmeter.note_contradictions(deliveries bigint[]) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    noted bigint[];
begin
    -- read before the review moves them, in the transaction that holds them locked
    with said as materialized (
        select e.id, e.delivery_id, e.outcome, e.shown_quantity,
               coalesce((select a.claimed_at < d.cut_at from postmeter.attempt a where a.id = e.attempt_id),
                   false) as is_earlier
        from postmeter.late_evidence e
        join postmeter.delivery d on d.id = e.delivery_id
        where e.delivery_id = any (deliveries) and e.id > d.evidence_read and d.status <> 'in_flight' and not d.shadow
    ), weighed as materialized (
        select d.id, d.destination_id, s.is_earlier, d.status, d.quantity, d.maybe_billed, d.shown_quantity,
            d.confirmed,
               max(s.id) filter (where s.outcome in ('accepted', 'duplicate', 'conflict')) as proof,
               max(s.id) as last,
               bool_or(s.outcome in ('accepted', 'duplicate')) as is_held,
                   bool_or(s.outcome = 'conflict') as is_conflict,
               bool_or(s.outcome in ('rejected', 'not_entitled', 'batch_refused', 'unauthorised', 'too_old', 'not_sent',
                   'no_credentials', 'unmapped')) as is_refused,
               max(s.shown_quantity) as shown,
               (select c.id from postmeter.decision c
                where c.delivery_id = d.id and c.verb in ('resolve', 'release', 'recount', 'write_off', 'hold', 'judge')
                    order by c.id desc limit 1) as settled_by,
               (select (c.detail ->> 'billed')::boolean from postmeter.decision c
                where c.delivery_id = d.id and c.verb = 'resolve' and c.decided_at >= d.cut_at
                    order by c.id desc limit 1) as said_billed,
               -- what was sent then: a release says what it gave back
               (select c.quantity from postmeter.decision c
                where c.delivery_id = d.id and c.verb in ('release', 'recount') and s.is_earlier
                    order by c.id desc limit 1) as earlier_quantity
        from said s join postmeter.delivery d on d.id = s.delivery_id
        group by d.id, s.is_earlier
    ), found as materialized (
        select w.*, case
            when w.is_earlier and (w.is_held or w.is_conflict) then case when w.is_held then 'held'
                else 'other_quantity' end
            when w.is_earlier then null
            -- nothing is settled yet: the evidence settles it, and contradicts only who said that they hold nothing
            when w.maybe_billed or w.status in ('due', 'held') then
                case when w.maybe_billed or w.said_billed is distinct from false then null
                     when w.is_held then 'held' when w.is_conflict then 'other_quantity' end
            when w.status = 'accepted' then
                case when w.is_conflict and (w.shown is null or w.shown <> coalesce(w.shown_quantity, w.quantity))
                    then 'other_quantity'
                     when w.is_held and w.shown <> coalesce(w.shown_quantity, w.quantity) then 'other_quantity'
                     when not w.is_held and not w.is_conflict and w.is_refused and w.said_billed
                      and not exists (select from postmeter.attempt a left
                          join postmeter.outcome o on o.attempt_id = a.id
                                      where a.delivery_id = w.id
                                          and a.id not in (select e.attempt_id from postmeter.late_evidence e
                                          where e.delivery_id = w.id)
                                        and coalesce(o.outcome, 'unknown') in ('unknown', 'accepted', 'duplicate'))
                                            then 'not_held' end
            when w.status = 'conflict' then
                case when w.is_held then 'held' when w.is_conflict and w.shown <> w.shown_quantity
                    then 'other_quantity' end
            when w.is_held or w.is_conflict and w.shown = w.quantity then 'held'
            when w.is_conflict then 'other_quantity' end as says
        from weighed w
    ), written as (
        insert into postmeter.contradiction (destination_id, delivery_id, source, says, their_quantity, evidence_id,
            is_earlier, settled_as, settled_by, our_quantity)
        select f.destination_id, f.id, 'late_evidence', f.says,
               case when f.says = 'not_held' then 0
                    else coalesce(f.shown, case when f.says = 'held' then case when f.is_earlier then f.earlier_quantity
                        else f.quantity end end) end,
               case when f.says = 'not_held' then f.last else f.proof end, f.is_earlier, f.status, f.settled_by,
                   f.quantity
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
    'Notes which of these locked deliveries have unread late evidence that contradicts what was settled: a part of '
    'review, before it moves them. Returns how many.';

create function postmeter.note_said(d postmeter.delivery, held numeric, billed boolean, who text)
returns bigint
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
      and c.their_quantity is not distinct from case when what = 'not_held' then 0 when what = 'held' then d.quantity
          else held end;
    if noted is null then
        insert into postmeter.contradiction (destination_id, delivery_id, source, says, their_quantity, said_by,
            settled_as, settled_by, our_quantity)
        values (d.destination_id, d.id, 'person', what, case when what = 'not_held' then 0 when what = 'held'
            then d.quantity else held end, who, d.status,
                (select c.id from postmeter.decision c
                 where c.delivery_id = d.id and c.verb in ('resolve', 'release', 'write_off', 'hold', 'judge')
                     order by c.id desc limit 1), d.quantity)
        returning id into noted;
        update postmeter.stuck s set again_at = null where s.delivery_id = d.id and s.again_at is not null;
    end if;
    return noted;
end
$$;
comment on function postmeter.note_said(postmeter.delivery, numeric, boolean, text) is
    'Notes what a person''s report says otherwise than a locked delivery was settled: a part of resolve_rows. '
    'Returns the contradiction; null: there is none.';

create function postmeter.resolve_doubt(d postmeter.delivery, billed boolean, who text, why text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    after   text := case when billed and d.status <> 'released' then 'accepted' else d.status end;
    decided bigint;
begin
    if billed and d.status = 'released' then
        -- its quantity went to another hour: what counts is for the person to judge
        insert into postmeter.contradiction (destination_id, delivery_id, source, says, their_quantity, said_by,
            settled_as, settled_by, our_quantity)
        select d.destination_id, d.id, 'person', 'held', d.quantity, who, d.status,
               (select max(c.id) from postmeter.decision c where c.delivery_id = d.id and c.verb = 'release'),
                   d.quantity
        where not exists (select from postmeter.contradiction o where o.delivery_id = d.id and o.decision_id is null
            and o.says = 'held');
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
    'A person says of a locked remittance in doubt whether it was billed in the time that was lost: a part of '
    'resolve_unknown. Billed, it is accepted (if it was released: a contradiction, to be judged); not billed, it '
    'stays as it is and may be corrected.';

create function postmeter.judge(
    contradiction bigint, counts text, who text, why text, out status text, out changed boolean
) returns record
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
            using errcode = 'PM037', column = 'counts', constraint = 'judge_counts',
                hint = 'ours: what was settled stands; theirs: it is counted as they say.';
    end if;
    perform postmeter.month_gate();
    select x.* into c from postmeter.contradiction x where x.id = judge.contradiction;
    if not found then
        raise exception 'there is no contradiction %', judge.contradiction
            using errcode = 'PM033', column = 'contradiction', constraint = 'contradiction_exists',
                hint = 'postmeter.contradiction_list lists them.';
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
            using errcode = 'PM034', column = 'contradiction', constraint = 'contradiction_open',
                hint = 'postmeter.decision_log says by whom, and why.';
    end if;
    after := d.status;
    if counts = 'theirs' then
        perform postmeter.check_not_dropped(array[c.delivery_id]);
        if c.delivery_id is null or c.is_earlier
            or d.status not in ('accepted', 'rejected', 'expired', 'conflict', 'written_off', 'released', 'held')
            or d.maybe_billed
           or d.body is null then
            raise exception 'contradiction % cannot be counted as they say', c.id
                using errcode = 'PM034', column = 'counts', constraint = 'judge_theirs',
                      hint = case when c.delivery_id is null
                          then
                          'It is about the sum of a day: correct its remittances (resolve, write off), then let '
                              'ours stand.'
                                  when c.is_earlier
                                      then
                                      'They speak of what was sent before the remittance was counted anew: agree '
                                          'with their support on what counts, then let ours stand.'
                                  else 'The remittance is on its way: wait until it is settled.' end;
        end if;
        after := case c.says when 'held' then 'accepted' when 'other_quantity' then 'conflict' else 'rejected' end;
        if d.status = 'released' and after <> 'rejected' then
            if exists (select from postmeter.cut k join postmeter.meter m on m.id = k.meter_id
                       join postmeter.closed_month x on x.destination_id = m.destination_id and x.month = m.month
                       where k.delivery_id = d.id) then
                raise exception 'the month of contradiction % is closed', c.id
                    using errcode = 'PM034', column = 'counts', constraint = 'judge_month',
                        hint = 'Reopen the month first, or let ours stand.';
            end if;
            -- what was given back is billed here after all: if it was billed elsewhere meanwhile, that is credit now
            for part in select k.meter_id, sum(k.to_bill) as to_bill from postmeter.cut k where k.delivery_id = d.id
                group by 1 order by 1 loop
                update postmeter.meter m
                set billed = trim_scale(m.billed + part.to_bill),
                    carried = trim_scale(m.carried - part.to_bill * m.denominator),
                    billable = trim_scale(greatest(0, m.billable - part.to_bill))
                where m.id = part.meter_id;
            end loop;
        end if;
        if d.status = 'written_off' and after <> 'rejected' then
            perform postmeter.undo_write_off_corrected(d.id);
        end if;
        update postmeter.delivery u
        set status = after, reason = null, changed_at = now, maybe_billed = false, maybe_since = null,
            confirmed = case when after = 'accepted' then true end,
            shown_quantity = case when after = 'rejected' then null
                else coalesce(c.their_quantity, u.shown_quantity) end
        where u.id = d.id;
    end if;
    insert into postmeter.decision (who, why, verb, delivery_id, destination_id, status_before, status_after, quantity,
        detail)
    values (who, why, 'judge', c.delivery_id, c.destination_id, d.status, after, d.quantity,
            jsonb_strip_nulls(jsonb_build_object('contradiction', c.id, 'counts', counts, 'says', c.says,
                'their_quantity', c.their_quantity::text)))
    returning id into decided;
    update postmeter.contradiction x set decision_id = decided where x.id = c.id;
    update postmeter.delivery u
    set confirmed = case when u.status = 'accepted' then true else u.confirmed end,
        evidence_read = case when u.status = 'open' then greatest(u.evidence_read, coalesce(c.evidence_id, 0))
            else u.evidence_read end
    where u.id = c.delivery_id and (u.status = 'accepted' and u.confirmed is false or u.status = 'open'
        and u.evidence_read < c.evidence_id);
    update postmeter.doubt x set decision_id = decided where x.delivery_id = d.id and x.decision_id is null;
    status := after;
end
$$;
comment on function postmeter.judge(bigint, text, text, text) is
    'A person judges a contradiction. ours: what was settled stands, whatever they say. theirs: the remittance '
    'counts as they say: accepted, a conflict with their quantity, or, where they hold nothing of what was called '
    'accepted, rejected; what a release had given back is taken back from its meters, and is credit if it was '
    'billed elsewhere meanwhile. Returns the remittance''s status; changed is false if the same was judged before.';
