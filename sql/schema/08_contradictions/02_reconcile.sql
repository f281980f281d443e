-- What the marketplaces say they hold.

create table postmeter.reconciliation (
    id             bigint      generated always as identity primary key,
    destination_id integer     not null,
    day            date        not null,
    asked_at       timestamptz not null default postmeter.clock(),
    who            text        not null check (who <> '')
);
create index reconciliation_by_day on postmeter.reconciliation (destination_id, day, id);
comment on table postmeter.reconciliation is
    'A marketplace was asked what it holds of a day. The latest answer for a day counts.';
comment on column postmeter.reconciliation.id is 'Number of the question.';
comment on column postmeter.reconciliation.destination_id is 'Who was asked.';
comment on column postmeter.reconciliation.day is 'The day, in UTC: that is how fine marketplaces answer.';
comment on column postmeter.reconciliation.asked_at is 'When, on postmeter.clock().';
comment on column postmeter.reconciliation.who is 'Who asked.';
create trigger append_only before delete or update or truncate on postmeter.reconciliation
    for each statement execute function postmeter.forbid_change();

create table postmeter.reported (
    reconciliation_id bigint           not null references postmeter.reconciliation(id),
    buyer             text collate "C" not null,
    dimension         text collate "C" not null,
    state             text collate "C" not null,
    quantity          numeric          not null,
    records           bigint           not null check (records >= 0),
    primary key (reconciliation_id, buyer, dimension, state)
);
comment on table postmeter.reported is 'What it answered: sums of the day per key and state, to the letter.';
comment on column postmeter.reported.reconciliation_id is 'Which question it answers.';
comment on column postmeter.reported.buyer is 'The buyer, in canonical form.';
comment on column postmeter.reported.dimension is 'Their name of the metric.';
comment on column postmeter.reported.state is 'Their word for how far they are with it.';
comment on column postmeter.reported.quantity is 'What they processed; where they have not, what was submitted.';
comment on column postmeter.reported.records is 'How many records that is.';
create trigger append_only before delete or update or truncate on postmeter.reported
    for each statement execute function postmeter.forbid_change();

create function postmeter.note_day_contradictions(destination text, day date, who text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    asked postmeter.reconciliation;
    noted integer;
    decided bigint;
    c     record;
begin
    perform postmeter.confirm_day(destination, day);
    select r.* into asked from postmeter.reconciliation r join postmeter.destination t on t.id = r.destination_id
    where t.name = note_day_contradictions.destination and r.day = note_day_contradictions.day
        order by r.id desc limit 1;
    -- a day that goes on differs by what is still on its way
    if not found or (day + 1)::timestamp at time zone 'UTC' > asked.asked_at then
        return 0;
    end if;
    insert into postmeter.contradiction (destination_id, source, says, their_quantity, reconciliation_id, buyer,
        dimension, said_by, settled_as, our_quantity)
    select asked.destination_id, 'reconciliation', case r.verdict when 'ours_alone' then 'not_held' when 'theirs_alone'
        then 'held' else 'other_quantity' end,
           coalesce(r.theirs, 0), asked.id, r.buyer, r.dimension, who, case when r.ours is null then null
               else 'accepted' end, coalesce(r.ours, 0)
    from postmeter.reconciled r
    where r.destination = note_day_contradictions.destination and r.day = note_day_contradictions.day
        and r.verdict not in ('equal', 'dropped')
      and not exists (select from postmeter.meter m join postmeter.delivery d on d.meter_id = m.id
                      where m.destination_id = asked.destination_id and m.buyer = r.buyer and m.dimension = r.dimension
                        and m.month between date_trunc('month', asked.day - 1)::date
                            and date_trunc('month', asked.day + 1)::date
                        and d.hour >= asked.day::timestamp at time zone 'UTC'
                            and d.hour < (asked.day + 1)::timestamp at time zone 'UTC'
                        and (d.status in ('open', 'due', 'in_flight', 'unknown') or d.maybe_billed))
      and not exists (select from postmeter.contradiction o
                      left join postmeter.reconciliation b on b.id = o.reconciliation_id
                      where b.destination_id = asked.destination_id and b.day = asked.day and o.buyer = r.buyer
                          and o.dimension = r.dimension
                        and o.their_quantity = coalesce(r.theirs, 0) and o.our_quantity = coalesce(r.ours, 0))
    order by r.buyer, r.dimension;
    get diagnostics noted = row_count;
    -- what they said before and say no more is over: they are asked about the same day again, and agree or say another
    -- sum
    for c in select o.id, o.says from postmeter.contradiction o
             join postmeter.reconciliation b on b.id = o.reconciliation_id and b.destination_id = asked.destination_id
                 and b.day = asked.day
             left join postmeter.reconciled r on r.destination = note_day_contradictions.destination
                 and r.day = asked.day
              and r.buyer = o.buyer and r.dimension = o.dimension and r.verdict <> 'equal'
             where o.decision_id is null
               and (r.buyer is null or coalesce(r.theirs, 0) <> o.their_quantity
                   or coalesce(r.ours, 0) <> o.our_quantity)
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
    'Notes what the latest answer about a day contradicts: sums of a buyer and dimension that are settled here and '
    'other there. A day that is not over, or of which something is still on its way, is not compared. What an '
    'earlier answer said and this one does not is closed. Returns how many are new.';

create function postmeter.confirm_day(destination text, day date) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    agreed integer;
begin
    update postmeter.delivery d
    set confirmed = true, changed_at = postmeter.clock()
    from postmeter.unconfirmed u
    where d.id = u.delivery_id and d.status = 'accepted' and d.confirmed is false
      and d.hour >= confirm_day.day::timestamp at time zone 'UTC'
          and d.hour < (confirm_day.day + 1)::timestamp at time zone 'UTC'
      and exists (select from postmeter.meter m
                  join postmeter.destination t on t.id = m.destination_id and t.name = confirm_day.destination
                  join postmeter.reconciled r on r.destination = t.name and r.day = confirm_day.day
                      and r.buyer = m.buyer
                   and r.dimension = m.dimension and r.verdict = 'equal'
                  where m.id = d.meter_id);
    get diagnostics agreed = row_count;
    return agreed;
end
$$;
comment on function postmeter.confirm_day(text, date) is
    'The latest answer about a day agrees with us: its unconfirmed remittances are confirmed. A part of '
    'note_day_contradictions. Returns how many.';
