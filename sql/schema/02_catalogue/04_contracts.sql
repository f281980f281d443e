-- To which contract a subscription belongs.

create function postmeter.decide_contract(subscription bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    s       postmeter.subscription;
    zone    text;
    its     date;
    began   timestamptz;
    decided text;
begin
    select x.* into strict s from postmeter.subscription x where x.id = subscription;
    select t.zone into strict zone from postmeter.destination t where t.id = s.destination_id;
    its := postmeter.month_of(s.valid_from, zone);
    began := its::timestamp at time zone zone;
    if s.buyer is null or s.valid_from = began
       or exists (select from postmeter.contract_member k where k.subscription_id = s.id and k.month = its) then
        return;
    end if;
    -- whom it follows in this month, whatever it names: a contract changes with the month
    select coalesce(k.contract, postmeter.contract_name(p.product, p.contract), p.buyer) into decided
    from postmeter.subscription p
    left join postmeter.contract_member k on k.subscription_id = p.id and k.month = its
    where p.org = s.org and p.product = s.product and p.destination_id = s.destination_id
      and p.account is not distinct from s.account and p.buyer is not null
      and p.valid_from < s.valid_from and (p.valid_until is null or p.valid_until > began)
    order by p.valid_from desc limit 1;
    -- else the one that it names
    decided := coalesce(decided, postmeter.contract_name(s.product, s.contract));
    -- else whom its buyer's other subscriptions follow, if they all follow somebody; not into a contract with a name
    if decided is null then
        select case when bool_or(coalesce(k.contract, postmeter.contract_name(o.product, o.contract), o.buyer)
            = s.buyer) then s.buyer
                    else (array_agg(k.contract order by o.valid_from, o.id)
                          filter (where k.contract !~ '^contract:' or k.contract ~ '/#[0-9]+$'))[1] end into decided
        from postmeter.subscription o
        left join postmeter.contract_member k on k.subscription_id = o.id and k.month = its
        where o.destination_id = s.destination_id and o.buyer = s.buyer and o.id <> s.id
          and o.valid_from < (its + interval '1 month')::timestamp at time zone zone
          and (o.valid_until is null or o.valid_until > began)
          and (k.contract is not null or o.valid_from <= began);
    end if;
    decided := coalesce(decided, postmeter.fresh_contract(s.id, its));
    -- a worker that knows no contracts counts by the buyer
    if s.valid_from <= postmeter.clock() + interval '1 hour' and exists (
        select from postmeter.worker w where w.stopped_at is null and w.reaped_at is null
            and w.lease_until > clock_timestamp()
           and coalesce(w.knows, 0) < 45) then
        decided := null;
    end if;
    insert into postmeter.contract_member (subscription_id, month, contract)
    values (s.id, its, coalesce(decided, s.buyer)) on conflict do nothing;
end
$$;
comment on function postmeter.decide_contract(bigint) is
    'Decides to which contract a subscription that begins within a month belongs in that month: to that of the one '
    'it follows, else the one that it names, else that of those its buyer has. Decides once.';

create function postmeter.assign_contract() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    was    text;
    member bigint;
begin
    if tg_op = 'UPDATE' and (old.org, old.product, old.account, old.destination_id, old.buyer, old.valid_from,
        old.contract)
           is not distinct from (new.org, new.product, new.account, new.destination_id, new.buyer, new.valid_from,
               new.contract) then
        return null;
    end if;
    if new.contract is not null and (tg_op = 'INSERT' or new.contract is distinct from old.contract) and exists (
        select from postmeter.worker w where w.stopped_at is null and w.reaped_at is null
            and w.lease_until > clock_timestamp()
           and coalesce(w.knows, 0) < 52) then
        raise exception
            'contract % of org %: a worker of an older release is running, which would count its usage by its buyer',
            new.contract, new.org
            using errcode = 'PM052', schema = 'postmeter', table = 'subscription', column = 'contract',
                  constraint = 'subscription_contract_known',
                  hint
                      = 'Bring all workers to this release first (postmeter.worker has those that run), then name '
                          'contracts.';
    end if;
    if tg_op = 'UPDATE' then
        was := coalesce(postmeter.contract_name(old.product, old.contract), old.buyer);
    end if;
    if was is distinct from coalesce(postmeter.contract_name(new.product, new.contract), new.buyer) and was is not null
        then
        -- what was counted stays where it is, and what follows it within the month goes there
        insert into postmeter.contract_member (subscription_id, month, contract)
        select distinct new.id, m.month, was
        from postmeter.destination t
        join postmeter.meter m on m.destination_id = t.id and m.buyer = was
        where t.id = old.destination_id and m.month >= postmeter.month_of(old.valid_from, t.zone)
          and m.month <= postmeter.month_of(postmeter.clock(), t.zone)
          and exists (select from postmeter.meter_metric mm where mm.meter_id = m.id)
          -- a worker that knows no contracts counts by the buyer
          and not exists (select from postmeter.worker w
                          where w.stopped_at is null and w.reaped_at is null and w.lease_until > clock_timestamp()
                            and coalesce(w.knows, 0) < 45)
        on conflict do nothing;
    end if;
    if tg_op = 'UPDATE' and (new.buyer, new.destination_id, new.valid_from, new.contract)
           is distinct from (old.buyer, old.destination_id, old.valid_from, old.contract) then
        -- where nothing was counted, it is decided anew
        delete from postmeter.contract_member k
        where k.subscription_id = new.id
          and not exists (select from postmeter.meter m
                          join postmeter.meter_metric mm on mm.meter_id = m.id
                          where m.destination_id = old.destination_id and m.buyer = k.contract and m.month = k.month);
    end if;
    if new.buyer is null then
        return null;
    end if;
    -- its successors too, which may have been read before it; who follows somebody first
    for member in
        select s.id
        from postmeter.subscription s
        join postmeter.destination t on t.id = s.destination_id
        where s.destination_id = new.destination_id and s.buyer is not null
          and (s.buyer = new.buyer or (s.org = new.org and s.product = new.product))
          and not exists (select from postmeter.contract_member k
                          where k.subscription_id = s.id and k.month = postmeter.month_of(s.valid_from, t.zone))
          -- one that begins with its month is a contract of its own name
          and s.valid_from <> postmeter.month_of(s.valid_from, t.zone)::timestamp at time zone t.zone
        order by not exists (select from postmeter.subscription p
                             where p.org = s.org and p.product = s.product and p.destination_id = s.destination_id
                               and p.account is not distinct from s.account and p.buyer is not null
                               and p.valid_from < s.valid_from),
                 s.valid_from, s.id
    loop
        perform postmeter.decide_contract(member);
    end loop;
    -- entered after the month's beginning under a buyer whose contract is somebody else's by then
    insert into postmeter.contract_member (subscription_id, month, contract)
    select new.id, x.month, f.contract
    from postmeter.destination t
    cross join lateral (select postmeter.month_of(postmeter.clock(), t.zone) as running) c
    cross join lateral (values (c.running), ((c.running - interval '1 month')::date)) x(month)
    cross join lateral (select postmeter.fresh_contract(new.id, x.month) as contract) f
    where t.id = new.destination_id and x.month >= postmeter.month_of(new.valid_from, t.zone) and f.contract is not null
      and (tg_op = 'INSERT' or old.buyer is distinct from new.buyer)
    on conflict do nothing;
    return null;
end
$$;
comment on function postmeter.assign_contract() is
    'Trigger of subscription: decides to which contract one belongs that begins within a month, and keeps one '
    'whose identity or contract''s name changes in place where it is (contract_member). Refuses a name while a '
    'worker runs that does not know it (PM052).';
create trigger contracts_follow after insert or update on postmeter.subscription
    for each row execute function postmeter.assign_contract();

create function postmeter.fresh_contract(subscription bigint, month date) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- that of whoever else came to its buyer
    select coalesce((select k.contract
                     from postmeter.contract_member k
                     join postmeter.subscription o on o.id = k.subscription_id
                     where o.destination_id = s.destination_id and o.buyer = s.buyer and k.month = fresh_contract.month
                       and k.contract ~ '^contract:.*/#[0-9]+$'
                     order by k.decided_at, o.id limit 1), 'contract:' || s.product || '/#' || s.id)
    from postmeter.subscription s
    join postmeter.destination t on t.id = s.destination_id
    where s.id = fresh_contract.subscription and s.contract is null
      -- somebody who has moved away keeps the buyer's contract for this month
      and exists (select from postmeter.contract_member k
                  join postmeter.subscription o on o.id = k.subscription_id
                  join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = s.buyer
                      and m.month = k.month
                  where k.contract = s.buyer and k.month = fresh_contract.month
                    and o.destination_id = s.destination_id and o.buyer <> s.buyer)
      -- and nobody of the buyer's own has any of it
      and not exists (select from postmeter.subscription o
                      left join postmeter.contract_member k on k.subscription_id = o.id
                          and k.month = fresh_contract.month
                      where o.destination_id = s.destination_id and o.buyer = s.buyer and o.id <> s.id
                        and coalesce(k.contract, postmeter.contract_name(o.product, o.contract), o.buyer) = s.buyer
                        and o.valid_from < (fresh_contract.month + interval '1 month')::timestamp at time zone t.zone
                        and (o.valid_until is null
                            or o.valid_until > fresh_contract.month::timestamp at time zone t.zone))
$$;
comment on function postmeter.fresh_contract(bigint, date) is
    'A contract of its own for a subscription whose buyer''s contract belongs to somebody else in that month, who '
    'was entered under that buyer and has moved away; null: it needs none.';

create function postmeter.buyers_now(subscription_id bigint) returns table (buyer text)
language sql stable
begin atomic
select n.buyer
    from postmeter.subscription s
    join postmeter.subscription n on n.org = s.org and n.product = s.product and n.destination_id = s.destination_id
                                 and n.account is not distinct from s.account
    cross join (select postmeter.clock() as now) c
    where s.id = buyers_now.subscription_id and n.buyer is not null
      and n.valid_from <= c.now and (n.valid_until is null or c.now < n.valid_until);
end;
comment on function postmeter.buyers_now(bigint) is
    'The buyer of a subscription, or of the one that has followed it, if it is valid now.';
