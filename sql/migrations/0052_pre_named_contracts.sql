-- 0052_pre_named_contracts: the catalogue names contracts: two of one org at one buyer count each by itself.
-- programs: from 0022
-- lock: access exclusive on subscription, grows with its rows: a column and an index of it
-- lock: access exclusive on missing_hours, for a moment: the view asks for named contracts
-- lock: access exclusive on remittance_summary, for a moment: the view asks for named contracts

-- what a person writes stands behind a prefix that no marketplace's buyer has, and behind the product: prices are a product's
alter table postmeter.subscription add column contract text collate "C";
alter table postmeter.subscription
    add constraint subscription_contract_name check (contract ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$') not valid,
    add constraint subscription_buyer_is_no_contract check (buyer not like 'contract:%') not valid;
-- squawk-ignore require-concurrent-index-creation
create index subscription_by_contract on postmeter.subscription (destination_id, contract) where contract is not null;
comment on column postmeter.subscription.contract is 'The contract on which its usage counts, by the name that the catalogue gives it (1 to 63 of A-Z, a-z, 0-9 and ._-); null: that of its buyer. It is one with the subscriptions of its product and destination that have the same name. A change counts from the next month on, where this one is metered.';

create function postmeter.contract_name(product text, name text) returns text
language sql immutable parallel safe
begin atomic
    select 'contract:' || contract_name.product || '/' || contract_name.name;
end;
comment on function postmeter.contract_name(text, text) is
    'A named contract as meter.buyer has it: no marketplace''s buyer begins so. Null without a name.';
revoke execute on function postmeter.contract_name(text, text) from public;
grant execute on function postmeter.contract_name(text, text)
    to postmeter_reader, postmeter_operator, postmeter_worker, postmeter_console;

create or replace function postmeter.contract_subscriptions(destination_id integer, contract text, month date)
returns table (subscription_id bigint)
language sql stable
begin atomic
    select s.id
    from postmeter.subscription s
    where s.destination_id = contract_subscriptions.destination_id and s.buyer = contract_subscriptions.contract
      and s.contract is null
      and not exists (select from postmeter.contract_member k
                      where k.subscription_id = s.id and k.month = contract_subscriptions.month
                        and k.contract <> contract_subscriptions.contract)
    union all
    -- a name has no slash
    select s.id
    from postmeter.subscription s
    where s.destination_id = contract_subscriptions.destination_id
      and s.contract = substring(contract_subscriptions.contract from '^contract:.*/([^/]*)$')
      and postmeter.contract_name(s.product, s.contract) = contract_subscriptions.contract
      and not exists (select from postmeter.contract_member k
                      where k.subscription_id = s.id and k.month = contract_subscriptions.month
                        and k.contract <> contract_subscriptions.contract)
    union all
    select s.id
    from postmeter.contract_member k
    join postmeter.subscription s on s.id = k.subscription_id
    where k.contract = contract_subscriptions.contract and k.month = contract_subscriptions.month
      and s.destination_id = contract_subscriptions.destination_id
      and coalesce(postmeter.contract_name(s.product, s.contract), s.buyer) is distinct from contract_subscriptions.contract;
end;

comment on table postmeter.contract_member is 'To which contract a subscription belongs in a month; without a row it is the one that it names (subscription.contract), else that of its buyer. Written once, by the catalogue''s trigger, when a subscription begins within a month, or its identity or its contract''s name changes in place: what was counted stays where it is.';
comment on column postmeter.contract_member.contract is 'The contract: by the buyer under which its month began, or by its name (contract:PRODUCT/NAME); with a number (contract:PRODUCT/#NUMBER) where that buyer''s contract belongs to somebody who was entered under it by mistake.';
comment on column postmeter.meter.buyer is 'The contract, by the buyer in canonical text under which its month began, or by its name: contract:PRODUCT/NAME.';
comment on table postmeter.meter is 'A contract''s dimension over a billing month: what rounding, cover and carry are counted on. A remittance belongs to the meter of its own key and counts on that of its contract, which is the same unless the contract has a name or its buyer has changed within the month. Written once per cut; locked before its remittances.';

-- deciding ------------------------------------------------------------------------------------------------------------

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
                  join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = s.buyer and m.month = k.month
                  where k.contract = s.buyer and k.month = fresh_contract.month
                    and o.destination_id = s.destination_id and o.buyer <> s.buyer)
      -- and nobody of the buyer's own has any of it
      and not exists (select from postmeter.subscription o
                      left join postmeter.contract_member k on k.subscription_id = o.id and k.month = fresh_contract.month
                      where o.destination_id = s.destination_id and o.buyer = s.buyer and o.id <> s.id
                        and coalesce(k.contract, postmeter.contract_name(o.product, o.contract), o.buyer) = s.buyer
                        and o.valid_from < (fresh_contract.month + interval '1 month')::timestamp at time zone t.zone
                        and (o.valid_until is null or o.valid_until > fresh_contract.month::timestamp at time zone t.zone))
$$;
comment on function postmeter.fresh_contract(bigint, date) is
    'A contract of its own for a subscription whose buyer''s contract belongs to somebody else in that month, who was entered under that buyer and has moved away; null: it needs none.';
revoke execute on function postmeter.fresh_contract(bigint, date) from public;

create or replace function postmeter.decide_contract(subscription bigint) returns void
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
        select case when bool_or(coalesce(k.contract, postmeter.contract_name(o.product, o.contract), o.buyer) = s.buyer) then s.buyer
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
        select from postmeter.worker w where w.stopped_at is null and w.reaped_at is null and w.lease_until > clock_timestamp()
           and coalesce(w.knows, 0) < 45) then
        decided := null;
    end if;
    insert into postmeter.contract_member (subscription_id, month, contract)
    values (s.id, its, coalesce(decided, s.buyer)) on conflict do nothing;
end
$$;
comment on function postmeter.decide_contract(bigint) is
    'Decides to which contract a subscription that begins within a month belongs in that month: to that of the one it follows, else the one that it names, else that of those its buyer has. Decides once.';

create or replace function postmeter.contracts_follow() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    was    text;
    member bigint;
begin
    if tg_op = 'UPDATE' and (old.org, old.product, old.account, old.destination_id, old.buyer, old.valid_from, old.contract)
           is not distinct from (new.org, new.product, new.account, new.destination_id, new.buyer, new.valid_from, new.contract) then
        return null;
    end if;
    if new.contract is not null and (tg_op = 'INSERT' or new.contract is distinct from old.contract) and exists (
        select from postmeter.worker w where w.stopped_at is null and w.reaped_at is null and w.lease_until > clock_timestamp()
           and coalesce(w.knows, 0) < 52) then
        raise exception 'contract % of org %: a worker of an older release is running, which would count its usage by its buyer',
            new.contract, new.org
            using errcode = 'PM052', schema = 'postmeter', table = 'subscription', column = 'contract',
                  constraint = 'subscription_contract_known',
                  hint = 'Bring all workers to this release first (postmeter.worker has those that run), then name contracts.';
    end if;
    if tg_op = 'UPDATE' then
        was := coalesce(postmeter.contract_name(old.product, old.contract), old.buyer);
    end if;
    if was is distinct from coalesce(postmeter.contract_name(new.product, new.contract), new.buyer) and was is not null then
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
comment on function postmeter.contracts_follow() is
    'Trigger of subscription: decides to which contract one belongs that begins within a month, and keeps one whose identity or contract''s name changes in place where it is (contract_member). Refuses a name while a worker runs that does not know it (PM052).';

-- where late and released quantity goes -------------------------------------------------------------------------------

create function postmeter.key_of_identity(meter_id bigint, identity jsonb) returns bigint
language sql stable
begin atomic
    select k.id
    from postmeter.meter m
    cross join lateral postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) c
    join postmeter.subscription s on s.id = c.subscription_id
    join postmeter.meter k on k.destination_id = m.destination_id and k.buyer = s.buyer and k.dimension = m.dimension
                          and k.month = m.month
    where m.id = key_of_identity.meter_id and s.identity = key_of_identity.identity
    order by k.id
    limit 1;
end;
comment on function postmeter.key_of_identity(bigint, jsonb) is
    'The meter of the key under which an identity of a meter''s contract is sent; null: its contract has no such identity.';
revoke execute on function postmeter.key_of_identity(bigint, jsonb) from public;

create function postmeter.target_way_as(meter_id bigint, identity jsonb) returns table (key_meter_id bigint, hour timestamptz)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with own as materialized (
        select k.id, postmeter.target_hour_of_key(k.id) as hour
        from (select coalesce(postmeter.key_of_identity(target_way_as.meter_id, target_way_as.identity), target_way_as.meter_id) as id) k
    )
    select o.id, o.hour from own o where o.hour is not null
    union all
    select w.key_meter_id, w.hour from own o cross join lateral postmeter.target_way(target_way_as.meter_id) w where o.hour is null
$$;
comment on function postmeter.target_way_as(bigint, jsonb) is
    'As target_way, but first under the key of the identity under which it was used: a contract may have several.';
revoke execute on function postmeter.target_way_as(bigint, jsonb) from public;

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
revoke execute on function postmeter.buyers_now(bigint) from public;
grant execute on function postmeter.buyers_now(bigint) to postmeter_worker;

create function postmeter.part_keys(meter_id bigint) returns table (buyer text)
language sql stable
begin atomic
    select s.buyer
    from postmeter.meter m
    cross join (select postmeter.clock() as now) c
    join postmeter.subscription s on s.destination_id = m.destination_id and s.buyer = m.buyer
     and s.valid_from <= c.now and (s.valid_until is null or c.now < s.valid_until)
    where m.id = part_keys.meter_id
    union
    select b.buyer
    from postmeter.meter m
    cross join lateral postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) o
    cross join lateral postmeter.buyers_now(o.subscription_id) b
    where m.id = part_keys.meter_id;
end;
comment on function postmeter.part_keys(bigint) is
    'Under which buyers a part of a meter can be sent in the running hour: its own, and those that its contract''s subscriptions or whoever follows them have now.';
revoke execute on function postmeter.part_keys(bigint) from public;
grant execute on function postmeter.part_keys(bigint) to postmeter_worker;

create function postmeter.part_key(meter_id bigint, identity jsonb) returns text
language sql stable
begin atomic
    select p.buyer
    from postmeter.meter m
    cross join lateral postmeter.part_keys(m.id) p
    where m.id = part_key.meter_id
    order by exists (select from postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) o
                     join postmeter.subscription s on s.id = o.subscription_id and s.identity = part_key.identity
                     cross join lateral postmeter.buyers_now(s.id) b
                     where b.buyer = p.buyer) desc, p.buyer = m.buyer desc, p.buyer
    limit 1;
end;
comment on function postmeter.part_key(bigint, jsonb) is
    'Under which buyer a part of a meter is sent in the running hour: that of the identity under which it was used, or of whoever follows it; null: nobody of its contract has a subscription now.';
revoke execute on function postmeter.part_key(bigint, jsonb) from public;

do $patch$
declare
    change     record;
    definition text;
begin
    for change in
        select * from (values
            ('postmeter.lock_meters(bigint[])'::regprocedure,
$old$        select m.buyer, postmeter.month_of(now, t.zone) as month
        where t.late_policy = 'part' and m.month < postmeter.month_of(now, t.zone)
          and exists (select from postmeter.subscription s
                      where s.destination_id = t.id and s.buyer = m.buyer and s.valid_from <= now
                        and (s.valid_until is null or now < s.valid_until))
$old$,
$new$        select p.buyer, postmeter.month_of(now, t.zone) as month
        from postmeter.part_keys(m.id) p
        where t.late_policy = 'part' and m.month < postmeter.month_of(now, t.zone)
$new$),
            ('postmeter.lock_meters(bigint[])'::regprocedure,
$old$        join postmeter.meter r on r.destination_id = m.destination_id and r.buyer = m.buyer and r.dimension = m.dimension
                              and r.month = postmeter.month_of(now, t.zone)
        where m.id = any (meters) and t.late_policy = 'part'
$old$,
$new$        cross join lateral postmeter.part_keys(m.id) p
        join postmeter.meter r on r.destination_id = m.destination_id and r.buyer = p.buyer and r.dimension = m.dimension
                              and r.month = postmeter.month_of(now, t.zone)
        where m.id = any (meters) and t.late_policy = 'part'
$new$),
            ('postmeter.open_target(bigint,jsonb,text)'::regprocedure,
             'select w.* into way from postmeter.target_way(late.id) w;',
             'select w.* into way from postmeter.target_way_as(late.id, open_target.identity) w;'),
            ('postmeter.open_target(bigint,jsonb,text)'::regprocedure,
             'join postmeter.meter m on m.destination_id = t.id and m.buyer = late.buyer and m.dimension = late.dimension',
             'join postmeter.meter m on m.destination_id = t.id and m.dimension = late.dimension
         and m.buyer = postmeter.part_key(late.id, open_target.identity)'),
            ('postmeter.open_target(bigint,jsonb,text)'::regprocedure,
$old$ and c.month = late.month)
          and exists (select from postmeter.subscription s
                      where s.destination_id = t.id and s.buyer = late.buyer and s.valid_from <= now
                        and (s.valid_until is null or now < s.valid_until));
$old$,
$new$ and c.month = late.month);
$new$),
            ('postmeter.open_late(bigint,timestamptz,jsonb,text)'::regprocedure,
             'return postmeter.open_hour_at(meter_id, hour, identity, product);',
             'return postmeter.open_hour_at(coalesce(postmeter.key_of_identity(meter_id, identity), meter_id), hour, identity, product);'),
            ('postmeter.open_hour_at(bigint,timestamptz,jsonb,text)'::regprocedure,
$old$    insert into postmeter.delivery$old$,
$new$    -- a contract with a name is nobody's key
    perform 1 from postmeter.meter m where m.id = open_hour_at.meter_id and m.buyer like 'contract:%';
    if found then
        return null;
    end if;
    insert into postmeter.delivery$new$),
            ('postmeter.release(jsonb,text,text,boolean)'::regprocedure,
$old$not exists (select from postmeter.subscription s
                                        where s.destination_id = m.destination_id and s.buyer = m.buyer and s.valid_from <= now
                                          and (s.valid_until is null or now < s.valid_until))$old$,
$new$not exists (select from postmeter.part_keys(m.id))$new$),
            -- nothing is counted on the key of a contract with a name
            ('postmeter.release(jsonb,text,text,boolean)'::regprocedure,
             'where c.delivery_id = d.id and postmeter.target_hour(m.id) is null and t.late_policy <> ''part'')',
             'where c.delivery_id = d.id and c.to_bill > 0 and postmeter.target_hour(m.id) is null and t.late_policy <> ''part'')'),
            ('postmeter.recalculate(text,date)'::regprocedure,
             'coalesce(k.contract, s.buyer) as contract',
             'coalesce(k.contract, postmeter.contract_name(s.product, s.contract), s.buyer) as contract'),
            ('postmeter.recount_ways(bigint[])'::regprocedure,
             'coalesce(k.contract, r.buyer) as contract',
             'coalesce(k.contract, (select postmeter.contract_name(e.product, e.contract) from postmeter.subscription e
                                     where e.id = r.subscription_id), r.buyer) as contract'),
            ('postmeter.placed_otherwise(bigint[],bigint[],text[],text[],timestamptz[],timestamptz[],boolean)'::regprocedure,
             'COALESCE(b.contract, r.buyer)',
             'coalesce(b.contract, (select postmeter.contract_name(e.product, e.contract) from postmeter.subscription e
                                    where e.id = r.subscription_id), r.buyer)'),
            -- a month is rounded by the rule with which it began
            ('postmeter.recalculate(text,date)'::regprocedure, 'coalesce(n.decimals, m.decimals)', 'coalesce(m.decimals, n.decimals)'),
            ('postmeter.recalculate(text,date)'::regprocedure, 'coalesce(n.month_end, m.month_end)', 'coalesce(m.month_end, n.month_end)'),
            ('postmeter.recalculate(text,date)'::regprocedure, 'coalesce(n.rounding, m.rounding)', 'coalesce(m.rounding, n.rounding)'),
            -- a cover counts in the hour in which it begins
            ('postmeter.recalculate(text,date)'::regprocedure,
             'h.hour, coalesce(sum(c.quantity), 0) as cover,',
             'h.hour,
                     greatest(coalesce(sum(c.quantity) filter (where s.valid_from <= h.hour), 0),
                              coalesce(sum(c.quantity) filter (
                                  where s.valid_until is null or s.valid_until >= h.hour + interval ''1 hour''), 0)) as cover,'),
            ('postmeter.recalculate(text,date)'::regprocedure,
             'and s.valid_from <= h.hour and (s.valid_until is null or h.hour < s.valid_until)',
             'and s.valid_from < h.hour + interval ''1 hour'' and (s.valid_until is null or h.hour < s.valid_until)')
        ) x(function, old, new)
    loop
        definition := pg_get_functiondef(change.function);
        if position(change.old in definition) = 0 then
            raise exception '% is not as this migration knows it: %', change.function, change.old;
        end if;
        execute replace(definition, change.old, change.new);
    end loop;
end
$patch$;

-- what is told of a contract -------------------------------------------------------------------------------------------

do $patch$
declare
    change     record;
    definition text;
    member     text := '(select k.subscription_id, k.month, k.contract from postmeter.contract_member k '
                    || 'union all select x.id, m.month, m.buyer from postmeter.subscription x '
                    || 'join postmeter.meter m on m.destination_id = x.destination_id and m.buyer = postmeter.contract_name(x.product, x.contract) '
                    || 'where x.contract is not null and not exists (select from postmeter.contract_member k '
                    || 'where k.subscription_id = x.id and k.month = m.month) group by x.id, m.month, m.buyer)';
begin
    for change in
        select * from (values
            ('postmeter.missing_hours'::regclass, 'JOIN postmeter.contract_member k ON', 'JOIN ' || member || ' k ON'),
            ('postmeter.remittance_summary'::regclass, 'postmeter.contract_member o', member || ' o'),
            ('postmeter.remittance_summary'::regclass, 'AND (s.buyer <> o.contract))', 'AND ((s.buyer <> o.contract) OR (s.contract IS NOT NULL)))'),
            ('postmeter.remittance_summary'::regclass,
             'JOIN postmeter.meter m ON (((m.destination_id = s.destination_id) AND (m.buyer = s.buyer)))',
             'JOIN postmeter.meter m ON (((m.destination_id = s.destination_id) AND (m.buyer = s.buyer) AND (s.contract IS NULL)))')
        ) x(view, old, new)
    loop
        definition := pg_get_viewdef(change.view);
        if position(change.old in definition) = 0 then
            raise exception '% is not as this migration knows it: %', change.view, change.old;
        end if;
        execute 'create or replace view ' || change.view::text || ' as ' || replace(definition, change.old, change.new);
    end loop;
end
$patch$;

insert into postmeter.migration (version, name) values (52, '0052_pre_named_contracts');
