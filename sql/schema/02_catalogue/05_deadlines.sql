-- Deadlines follow the catalogue.

create table postmeter.deadline_change (
    id             bigint           generated always as identity primary key,
    destination_id integer          not null,
    buyer          text collate "C" not null,
    wanted_at      timestamptz      not null default clock_timestamp(),
    next_at        timestamptz      not null default clock_timestamp(),
    awaits         xid8,
    since          timestamptz
);
create index deadline_change_by_buyer on postmeter.deadline_change (destination_id, buyer);
create index deadline_change_by_time on postmeter.deadline_change (next_at, id);
comment on table postmeter.deadline_change is
    'Buyers whose subscriptions, or whose destination''s limits, have changed: the deadlines of their hours that '
    'are not sent yet are to follow. Maintenance moves them, in shares, and deletes the row when none can come any '
    'more that goes by the old end; until then each claim goes by the new deadline.';
comment on column postmeter.deadline_change.id is 'Number of the mark.';
comment on column postmeter.deadline_change.destination_id is 'The destination.';
comment on column postmeter.deadline_change.buyer is 'The buyer.';
comment on column postmeter.deadline_change.wanted_at is 'When the catalogue changed; the server''s time.';
comment on column postmeter.deadline_change.next_at is
    'From when on a worker takes it; later than now: one has it in hand.';
comment on column postmeter.deadline_change.awaits is
    'Every deadline has followed, as far as could be seen: it is looked once more when all transactions before '
    'this one have ended, for one of them may open an hour by the old end. Null: not yet.';
comment on column postmeter.deadline_change.since is
    'Hours after this are looked at, where the destination''s limits have changed; null: those that its age limit '
    'leaves.';

create function postmeter.deadline_of(destination_id integer, buyer text, hour timestamptz)
returns timestamptz
language plpgsql stable cost 1000 set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return (
        select least(deadline_of.hour + t.age_limit,
                     ((postmeter.month_of(deadline_of.hour, t.zone) + interval '1 month') at time zone t.zone)
                         + t.month_cutoff,
                     postmeter.served_until(t.id, deadline_of.buyer, deadline_of.hour) + t.closing_window) - t.margin
        from postmeter.destination t
        where t.id = deadline_of.destination_id
    );
end
$$;
comment on function postmeter.deadline_of(integer, text, timestamptz) is
    'Last moment at which an hour may be sent: earliest of age limit, month cut-off and end of the subscriptions '
    'that serve it (served_until) plus closing window, less the margin.';

create function postmeter.recompute_deadlines() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and (old.destination_id, old.buyer, old.valid_from, old.valid_until)
                            is not distinct from (new.destination_id, new.buyer, new.valid_from, new.valid_until) then
        return null;
    end if;
    -- the first of a buyer, without an end, leaves each deadline as it was
    if tg_op <> 'DELETE' and old.buyer is null and new.valid_until is null and not exists (
        select from postmeter.subscription s
        where s.destination_id = new.destination_id and s.buyer = new.buyer and s.id <> new.id) then
        return null;
    end if;
    -- who was never metered may be metered by a fold that is not committed yet
    insert into postmeter.deadline_change (destination_id, buyer)
    select x.destination_id, x.buyer
    from (values (old.destination_id, old.buyer), (new.destination_id, new.buyer)) x(destination_id, buyer)
    where x.buyer is not null
    group by x.destination_id, x.buyer
    order by x.destination_id, x.buyer;
    -- a program that knows no marks moves none, and sends what it has not heard of: for it a share moves at once
    if exists (select from postmeter.worker w
               where w.stopped_at is null and w.reaped_at is null and w.lease_until > clock_timestamp()
                   and coalesce(w.knows, 0) < 41) then
        update postmeter.delivery d
        set deadline = x.deadline
        from (
            select o.id, n.deadline
            from (values (old.destination_id, old.buyer), (new.destination_id, new.buyer)) b(destination_id, buyer)
            join postmeter.meter m on m.destination_id = b.destination_id and m.buyer = b.buyer
            join postmeter.delivery o on o.meter_id = m.id
            cross join lateral (select postmeter.deadline_of(m.destination_id, m.buyer, o.hour) as deadline) n
            where o.hour > (select postmeter.clock() - max(t.age_limit) from postmeter.destination t
                            where t.id in (old.destination_id, new.destination_id))
              and o.status in ('open', 'due') and n.deadline <> o.deadline
            order by o.id
            limit 1000
            for update of o skip locked
        ) x
        where d.id = x.id;
    end if;
    return null;
end
$$;
comment on function postmeter.recompute_deadlines() is
    'Trigger of subscription: one that ends, is renewed, is removed or passes to another buyer marks its buyers '
    '(deadline_change); the deadlines of the hours that are not sent yet follow, in shares.';
create trigger deadlines_follow after insert or delete or update on postmeter.subscription
    for each row execute function postmeter.recompute_deadlines();

-- A function in the language sql that is not inlined is planned again whenever the one around it runs. What is asked
-- for
-- each hour of each meter keeps its plan: ten milliseconds for a stranded meter were one.
create function postmeter.served_until(destination_id integer, buyer text, hour timestamptz)
returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return (
        select e.valid_until
        from (select max(coalesce(s.valid_until, 'infinity')) as at
              from postmeter.subscription s
              where s.destination_id = served_until.destination_id and s.buyer = served_until.buyer
                and s.valid_from < served_until.hour + interval '1 hour') f
        join postmeter.subscription e
          on e.destination_id = served_until.destination_id and e.buyer = served_until.buyer and e.valid_until >= f.at
        where not exists (select from postmeter.subscription r
                          where r.destination_id = served_until.destination_id and r.buyer = served_until.buyer
                            and r.valid_from <= e.valid_until
                                and (r.valid_until is null or r.valid_until > e.valid_until))
        order by e.valid_until
        limit 1
    );
end
$$;
comment on function postmeter.served_until(integer, text, timestamptz) is
    'When the subscriptions of a buyer end that serve an hour: the last one that begins before the hour''s end, '
    'and those that follow without a gap. Null: they do not end. A later one behind a gap changes nothing.';

create function postmeter.recompute_deadlines_of_destination() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    first_hour timestamptz := postmeter.clock() - greatest(old.age_limit, new.age_limit);
begin
    if (old.age_limit, old.month_cutoff, old.closing_window, old.margin, old.zone)
       is not distinct from (new.age_limit, new.month_cutoff, new.closing_window, new.margin, new.zone) then
        return null;
    end if;
    -- a mark each, and no lock on any hour: a fold that is not committed may meter whoever is subscribed
    insert into postmeter.deadline_change (destination_id, buyer, since)
    select new.id, b.buyer, first_hour
    from (select m.buyer from postmeter.meter m
          where m.destination_id = new.id and m.month >= postmeter.month_of(first_hour - interval '1 day', 'UTC')
          union
          select s.buyer from postmeter.subscription s where s.destination_id = new.id and s.buyer is not null) b
    order by b.buyer;
    return null;
end
$$;
comment on function postmeter.recompute_deadlines_of_destination() is
    'Trigger of destination: where a limit that deadlines are made of has changed, all its buyers are marked '
    '(deadline_change); the deadlines of the hours that are not sent yet follow, in shares.';
create trigger limits_follow after update of age_limit, month_cutoff, closing_window, margin,
    zone on postmeter.destination
    for each row
    execute function postmeter.recompute_deadlines_of_destination();
