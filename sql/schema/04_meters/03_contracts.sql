-- The meters and keys of a contract.

create function postmeter.contract_subscriptions(destination_id integer, contract text, month date)
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
      and coalesce(postmeter.contract_name(s.product, s.contract), s.buyer) is distinct
          from contract_subscriptions.contract;
end;
comment on function postmeter.contract_subscriptions(integer, text, date) is
    'The subscriptions that belong to a contract in a month, whenever they are valid.';

create function postmeter.meter_ends(destination_id integer, buyer text, month_ends timestamptz)
returns timestamptz
language sql stable
begin atomic
select least(meter_ends.month_ends, max(coalesce(s.valid_until, 'infinity')))
    from postmeter.destination t
    cross join lateral postmeter.contract_subscriptions(
        t.id, meter_ends.buyer, postmeter.month_of(meter_ends.month_ends - interval '1 microsecond', t.zone)) b
    join postmeter.subscription s on s.id = b.subscription_id
    where t.id = meter_ends.destination_id and s.valid_from < meter_ends.month_ends;
end;
comment on function postmeter.meter_ends(integer, text, timestamptz) is
    'When a meter ends: with its month, or before with the last of its contract''s subscriptions in it. The cut of '
    'the hour before that settles what is left, and so does any later one.';

create function postmeter.key_of_hour(meter_id bigint, hour timestamptz) returns text
language sql stable
begin atomic
select s.buyer
    from postmeter.meter m
    cross join lateral postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) c
    join postmeter.subscription s on s.id = c.subscription_id
    where m.id = key_of_hour.meter_id
      and s.valid_from < key_of_hour.hour + interval '1 hour'
          and (s.valid_until is null or key_of_hour.hour < s.valid_until)
    order by s.buyer <> m.buyer, s.valid_from desc, s.id
    limit 1;
end;
comment on function postmeter.key_of_hour(bigint, timestamptz) is
    'The buyer under which an hour of a meter''s contract is sent: the meter''s own if that is valid then. Null: '
    'none is.';

create function postmeter.dimension_in(destination_id integer, name text, month date)
returns table (rounding text, decimals integer, month_end text)
language sql stable
begin atomic
select d.rounding, d.decimals, d.month_end
    from postmeter.dimension d
    where d.destination_id = dimension_in.destination_id and d.name = dimension_in.name
      and d.valid_from <= dimension_in.month
      -- of each metric, what is valid in that month
      and not exists (select from postmeter.dimension l
                      where l.destination_id = d.destination_id and l.product = d.product and l.metric = d.metric
                        and l.valid_from > d.valid_from and l.valid_from <= dimension_in.month)
    order by d.valid_from desc, d.id
    limit 1;
end;
comment on function postmeter.dimension_in(integer, text, date) is
    'How the marketplace''s dimension of that name is counted in a month; no row if no metric has it then.';

create function postmeter.shares_cover(meter_id bigint) returns table (other_id bigint)
language sql stable
begin atomic
select distinct b.meter_id
    from postmeter.meter m
    join postmeter.meter_metric a on a.meter_id = m.id
    join postmeter.meter o on o.destination_id = m.destination_id and o.buyer = m.buyer and o.month = m.month
        and o.id <> m.id
    join postmeter.meter_metric b on b.meter_id = o.id and b.product = a.product and b.metric = a.metric
    where m.id = shares_cover.meter_id
      and exists (select from postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) s
                  join postmeter.cover c on c.subscription_id = s.subscription_id and c.metric = a.metric);
end;
comment on function postmeter.shares_cover(bigint) is
    'Other meters of a meter''s contract and month that count one of its metrics, where a contract covers it: the '
    'cover is given once for all of them.';

create function postmeter.identity_at(meter_id bigint, hour timestamptz, given_identity jsonb, given_product text)
returns table (identity jsonb, product text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select s.identity, s.product
    from postmeter.meter m
    join postmeter.subscription s on s.destination_id = m.destination_id and s.buyer = m.buyer
    where m.id = identity_at.meter_id
      and s.valid_from < identity_at.hour + interval '1 hour'
          and (s.valid_until is null or identity_at.hour < s.valid_until)
    order by s.product = identity_at.given_product desc, s.identity = identity_at.given_identity desc, s.id
    limit 1
$$;
comment on function postmeter.identity_at(bigint, timestamptz, jsonb, text) is
    'The identity and product with which an hour of a meter''s key is sent; of several the given ones. No row: no '
    'subscription is valid then.';

create function postmeter.hours_of_meter(meter_id bigint)
returns table (delivery_id bigint, hour timestamptz, opened_at timestamptz)
language sql stable
begin atomic
select d.id, d.hour, d.opened_at from postmeter.delivery d where d.meter_id = hours_of_meter.meter_id
    union all
    select d.id, d.hour, d.opened_at
    from postmeter.part p
    join postmeter.delivery d on d.id = p.delivery_id
    where p.meter_id = hours_of_meter.meter_id and d.meter_id <> p.meter_id;
end;
comment on function postmeter.hours_of_meter(bigint) is
    'The remittances that count on a meter: of its own key, and those of which it is a part.';

create function postmeter.insert_parts(deliveries bigint[], meters bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into postmeter.part (delivery_id, meter_id)
    select distinct g.delivery_id, g.meter_id
    from unnest(deliveries, meters) g(delivery_id, meter_id)
    join postmeter.delivery d on d.id = g.delivery_id and d.meter_id <> g.meter_id
    order by 1, 2
    on conflict do nothing;
end
$$;
comment on function postmeter.insert_parts(bigint[], bigint[]) is
    'Says that these remittances count on these meters too. The caller has them locked, and open.';

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
    'The meter of the key under which an identity of a meter''s contract is sent; null: its contract has no such '
    'identity.';

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
    'Under which buyers a part of a meter can be sent in the running hour: its own, and those that its contract''s '
    'subscriptions or whoever follows them have now.';

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
    'Under which buyer a part of a meter is sent in the running hour: that of the identity under which it was '
    'used, or of whoever follows it; null: nobody of its contract has a subscription now.';
