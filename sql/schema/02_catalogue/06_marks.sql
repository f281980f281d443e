-- Buyers whose open hours a change of the catalogue concerns are marked.

create table postmeter.catalogue_mark (
    id             bigint           generated always as identity primary key,
    destination_id integer          not null,
    buyer          text collate "C" not null,
    org            text collate "C",
    product        text collate "C",
    exemption_id   bigint,
    is_awaited     boolean          not null,
    wanted_at      timestamptz      not null default clock_timestamp(),
    next_at        timestamptz      not null default clock_timestamp(),
    awaits         xid8
);
create index catalogue_mark_by_buyer on postmeter.catalogue_mark (destination_id, buyer);
create index catalogue_mark_by_org on postmeter.catalogue_mark (org, product);
create index catalogue_mark_by_time on postmeter.catalogue_mark (next_at, id);
comment on table postmeter.catalogue_mark is
    'Buyers in whose open hours usage may be counted that the catalogue, since it was changed, places elsewhere. '
    'Maintenance returns that usage to the outbox, in shares, and deletes the row when none can come any more that '
    'goes by the old catalogue; until then the cut of such an hour looks itself.';
comment on column postmeter.catalogue_mark.id is 'Number of the mark.';
comment on column postmeter.catalogue_mark.destination_id is 'The destination.';
comment on column postmeter.catalogue_mark.buyer is 'The buyer.';
comment on column postmeter.catalogue_mark.org is 'Only usage of this org can have moved; null: of any.';
comment on column postmeter.catalogue_mark.product is 'Only usage of this product can have moved; null: of any.';
comment on column postmeter.catalogue_mark.exemption_id is
    'This exemption has ended earlier or begins later: what it exempted may have to be counted. Null: no exemption '
    'did.';
comment on column postmeter.catalogue_mark.is_awaited is
    'Usage may come to this buyer from elsewhere: its hours wait until it was returned, until a lead before their '
    'deadline at the latest.';
comment on column postmeter.catalogue_mark.wanted_at is 'When the catalogue changed; the server''s time.';
comment on column postmeter.catalogue_mark.next_at is
    'From when on a worker takes it; later than now: one has it in hand.';
comment on column postmeter.catalogue_mark.awaits is
    'Nothing was left to return: it is looked once more when all transactions before this one have ended, for one '
    'of them may count usage by the old catalogue. Null: not yet.';

create function postmeter.mark_buyers_of_subscription() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and (old.org, old.product, old.account, old.destination_id, old.buyer, old.invalid,
        old.valid_from)
           is not distinct from (new.org, new.product, new.account, new.destination_id, new.buyer, new.invalid,
               new.valid_from) then
        if old.valid_until is not distinct from new.valid_until
            or least(old.valid_until, new.valid_until) >= postmeter.recorded_until() then
            return null;
        end if;
    elsif least(old.valid_from, new.valid_from) >= postmeter.recorded_until() then
        return null;
    end if;
    insert into postmeter.catalogue_mark (destination_id, buyer, org, product, is_awaited)
    select x.destination_id, x.buyer, coalesce(new.org, old.org), coalesce(new.product, old.product), x.buyers > 1
    from (
        select b.destination_id, b.buyer, count(*) over () as buyers
        from (
            select old.destination_id, old.buyer
            union
            select new.destination_id, new.buyer
            union
            -- to whom the org's usage can go, or from whom it can come
            select s.destination_id, s.buyer
            from postmeter.subscription s
            join postmeter.destination t on t.id = s.destination_id
            where (s.org, s.product) in ((old.org, old.product), (new.org, new.product))
              and (s.valid_until is null or s.valid_until > postmeter.clock() - t.age_limit)
              and s.valid_from < postmeter.recorded_until()
            union
            -- for whom it was counted before an identity was changed that has been read now
            select c.destination_id, c.buyer
            from postmeter.catalogue_mark c
            where (c.org, c.product) in ((old.org, old.product), (new.org, new.product))
        ) b(destination_id, buyer)
        where b.buyer is not null
    ) x
    -- nothing can be counted of an org that has nobody else, and had nobody
    where x.buyers > 1 or old.buyer is not null
    order by x.destination_id, x.buyer;
    return null;
end
$$;
comment on function postmeter.mark_buyers_of_subscription() is
    'Trigger of subscription: marks the buyers of its org (catalogue_mark), in whose open hours usage may be '
    'counted that belongs elsewhere by now; it is returned in shares.';
create trigger subscription_marks after insert or delete or update on postmeter.subscription
    for each row execute function postmeter.mark_buyers_of_subscription();

create function postmeter.mark_buyer_of_contract() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- of its own org the subscription's edit has marked all; what it decides for others of its buyer is not in it
    insert into postmeter.catalogue_mark (destination_id, buyer, org, product, is_awaited)
    select s.destination_id, s.buyer, s.org, s.product, false
    from postmeter.subscription s
    where s.id = coalesce(new.subscription_id, old.subscription_id) and s.buyer <> coalesce(new.contract, old.contract)
      and not exists (select from postmeter.catalogue_mark c
                      where c.destination_id = s.destination_id and c.buyer = s.buyer and c.org = s.org
                          and c.awaits is null);
    return null;
end
$$;
comment on function postmeter.mark_buyer_of_contract() is
    'Trigger of contract_member: marks the buyer of a subscription that belongs to another contract by now '
    '(catalogue_mark); what its open hours count is returned in shares and counted there.';

create function postmeter.mark_buyers_of_exemption() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if least(old.valid_from, new.valid_from) >= postmeter.recorded_until()
       or tg_op = 'UPDATE' and (old.org, old.product, old.valid_from, old.valid_until)
              is not distinct from (new.org, new.product, new.valid_from, new.valid_until) then
        return null;
    end if;
    insert into postmeter.catalogue_mark (destination_id, buyer, org, exemption_id, is_awaited)
    select s.destination_id, s.buyer, s.org, max(old.id), tg_op <> 'INSERT'
    from postmeter.subscription s
    join postmeter.destination t on t.id = s.destination_id
    where s.org in (old.org, new.org) and s.buyer is not null
      and (s.valid_until is null or s.valid_until > postmeter.clock() - t.age_limit)
          and s.valid_from < postmeter.recorded_until()
    group by 1, 2, 3
    order by 1, 2, 3;
    return null;
end
$$;
comment on function postmeter.mark_buyers_of_exemption() is
    'Trigger of exemption: marks the buyers of its org (catalogue_mark); what their open hours count and is exempt '
    'now is returned in shares, and what was exempt and is not any more.';
create trigger exemption_marks after insert or delete or update on postmeter.exemption
    for each row execute function postmeter.mark_buyers_of_exemption();

create function postmeter.mark_buyers_of_dimension() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and (old.destination_id, old.product, old.metric, old.name, old.valid_from)
           is not distinct from (new.destination_id, new.product, new.metric, new.name, new.valid_from)
       or least(old.valid_from, new.valid_from) > postmeter.recorded_until() then
        return null;
    end if;
    -- what had no dimension was held, and is cured
    if tg_op = 'INSERT' and not exists (
        select from postmeter.dimension d
        where d.id <> new.id and d.destination_id = new.destination_id and d.product = new.product
            and d.metric = new.metric) then
        return null;
    end if;
    insert into postmeter.catalogue_mark (destination_id, buyer, product, is_awaited)
    select x.destination_id, x.buyer, x.product, true
    from (
        select s.destination_id, s.buyer, s.product
        from postmeter.subscription s
        join postmeter.destination t on t.id = s.destination_id
        where (s.destination_id, s.product) in ((old.destination_id, old.product), (new.destination_id, new.product))
            and s.buyer is not null
          and (s.valid_until is null or s.valid_until > postmeter.clock() - t.age_limit)
              and s.valid_from < postmeter.recorded_until()
        group by 1, 2, 3
    ) x
    order by 1, 2;
    return null;
end
$$;
comment on function postmeter.mark_buyers_of_dimension() is
    'Trigger of dimension: where a metric of a product is called otherwise, all its buyers are marked '
    '(catalogue_mark); what their open hours count under the old name is returned in shares.';
create trigger dimension_marks after insert or delete or update on postmeter.dimension
    for each row execute function postmeter.mark_buyers_of_dimension();
