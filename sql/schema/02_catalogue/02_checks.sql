-- What an edit of the catalogue must not do.

create function postmeter.check_shadow() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and new.shadow_of is distinct from old.shadow_of then
        raise exception 'destination % cannot become a shadow, cease to be one, or become that of another', old.name
            using errcode = 'PM014', schema = 'postmeter', table = 'destination', column = 'shadow_of',
                constraint = 'destination_shadow_for_good',
                  hint
                      = 'Make a new destination: what a shadow counted was never sent, and must not look as if it '
                          'had been.';
    end if;
    perform 1 from postmeter.destination t where t.id = new.shadow_of and (t.shadow_of is not null or t.id = new.id);
    if found then
        raise exception 'destination % would be the shadow of a shadow', new.name
            using errcode = 'PM014', schema = 'postmeter', table = 'destination', column = 'shadow_of',
                constraint = 'destination_shadow_of_live';
    end if;
    return new;
end
$$;
comment on function postmeter.check_shadow() is
    'Trigger: a shadow belongs to a live destination, and stays one for good (PM014).';
create trigger check_shadow before insert or update of shadow_of on postmeter.destination
    for each row execute function postmeter.check_shadow();

create function postmeter.check_subscription() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    other  postmeter.subscription;
    begins timestamptz;
begin
    -- one writer at a time per org, product and destination: two overlapping rows must not pass each other unseen
    perform postmeter.take_gate('subscription ' || new.destination_id);
    if tg_op = 'UPDATE' and (new.identity, new.destination_id) is distinct from (old.identity, old.destination_id) then
        begins := postmeter.form_begins(old.destination_id, old.product, array[old.buyer], new.identity, new.valid_from,
            new.valid_until);
        new.buyer := null; new.buyer_account := null; new.identity_form := null; new.invalid := null;
    end if;
    select s.* into other from postmeter.subscription s
    where s.id <> new.id and s.org = new.org and s.product = new.product and s.destination_id = new.destination_id
      and s.account is not distinct from new.account
      and s.valid_from < coalesce(new.valid_until, 'infinity') and new.valid_from < coalesce(s.valid_until, 'infinity')
    limit 1;
    if found then
        raise exception 'org % already has a subscription of product % at this destination from % until %',
            new.org, new.product, other.valid_from, coalesce(other.valid_until::text, 'further notice')
            using errcode = 'PM011', schema = 'postmeter', table = 'subscription', column = 'valid_from',
                  constraint = 'subscription_overlap',
                  hint = 'End the earlier one first (valid_until), or tell them apart by account.';
    end if;
    if new.buyer is null then
        perform postmeter.check_form_begins(new, begins);
        return new;
    end if;
    -- whole hours are sent: two forms in one hour bill it twice, though one ends in it before the other begins
    select s.* into other from postmeter.subscription s
    where s.id <> new.id and s.product = new.product and s.destination_id = new.destination_id
      and (s.buyer_account = new.buyer_account or s.org = new.org) and s.identity_form <> new.identity_form
      and postmeter.hour_of(s.valid_from) < coalesce(new.valid_until, 'infinity')
      and postmeter.hour_of(new.valid_from) < coalesce(s.valid_until, 'infinity')
    limit 1;
    if found then
        raise exception
            'buyer % of product % would be known by two identity forms (% and %) in one hour and be billed twice',
            new.buyer_account, new.product, other.identity_form, new.identity_form
            using errcode = 'PM012', schema = 'postmeter', table = 'subscription', column = 'identity',
                  constraint = 'subscription_one_identity_form',
                  hint = 'End the old form at the full hour at which the new one begins.';
    end if;
    -- hours that were sent already: late usage of them must not be sent in the other form
    if tg_op = 'INSERT' or (new.buyer, new.valid_from) is distinct from (old.buyer, old.valid_from) then
        begins := postmeter.form_begins(new.destination_id, new.product, array(
            select distinct s.buyer from postmeter.subscription s
            where s.id <> new.id and s.product = new.product and s.destination_id = new.destination_id
                and s.buyer is not null
              and (s.buyer_account = new.buyer_account or s.org = new.org) and s.identity_form <> new.identity_form),
            new.identity, new.valid_from, new.valid_until);
    end if;
    perform postmeter.check_form_begins(new, begins);
    return new;
end
$$;
comment on function postmeter.check_subscription() is
    'Trigger: refuses overlapping subscriptions (PM011) and a second identity form for the same buyer, product and '
    'hour (PM012).';
create trigger check_subscription before insert or update on postmeter.subscription
    for each row execute function postmeter.check_subscription();

create function postmeter.check_dimension() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    other postmeter.dimension;
begin
    select d.* into other from postmeter.dimension d
    where d.id <> new.id and d.destination_id = new.destination_id and d.product = new.product and d.name = new.name
      and d.valid_from = new.valid_from
      and (d.rounding, d.decimals, d.month_end) is distinct from (new.rounding, new.decimals, new.month_end)
    limit 1;
    if found then
        raise exception 'metrics % and % share dimension % but not its rounding, decimals and month_end',
            other.metric, new.metric, new.name
            using errcode = 'PM013', schema = 'postmeter', table = 'dimension', column = 'rounding',
                  constraint = 'dimension_shared_rounding',
                  hint = 'A dimension is rounded once: give all its metrics the same rounding, decimals and month_end.';
    end if;
    return new;
end
$$;
comment on function postmeter.check_dimension() is
    'Trigger: metrics that share a dimension must share its rounding (PM013).';
create trigger check_dimension before insert or update on postmeter.dimension
    for each row execute function postmeter.check_dimension();

create function postmeter.form_begins(
    destination_id integer, product text, buyers text[], identity jsonb, since timestamptz, until timestamptz
) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- what the marketplace takes no more is no hour of either form
    select max(d.hour) + interval '1 hour'
    from postmeter.destination t
    join postmeter.meter m on m.destination_id = t.id and m.buyer = any (buyers)
     and m.month >= postmeter.month_of(postmeter.clock() - t.age_limit - interval '1 day', 'UTC')
    join postmeter.delivery d on d.meter_id = m.id and d.product = form_begins.product
     and d.hour >= greatest(postmeter.hour_of(since), postmeter.clock() - t.age_limit)
         and d.hour < coalesce(until, 'infinity')
    where t.id = form_begins.destination_id and t.shadow_of is null
      and (d.maybe_billed or d.status in ('due', 'in_flight', 'accepted', 'unknown', 'conflict'))
      and array(select k from jsonb_object_keys(d.identity) k order by k)
          <> array(select k from jsonb_object_keys(form_begins.identity) k order by k)
$$;
comment on function postmeter.form_begins(integer, text, text[], jsonb, timestamptz, timestamptz) is
    'The first hour of a product in which nothing was sent, in any dimension, for buyers of another form of '
    'identity than the given one; refused hours apart. Null: no hour of that time stands in its way.';

create function postmeter.check_form_begins(entered postmeter.subscription, begins timestamptz) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    hour text := to_char(begins at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"');
begin
    if begins is not null then
        raise exception
            'product % of org % was sent under another identity form until %, and would be billed twice in those hours',
            entered.product, entered.org, hour
            using errcode = 'PM012', schema = 'postmeter', table = 'subscription', column = 'valid_from',
                  constraint = 'subscription_form_begins',
                  hint
                      = format('Let the old form end (valid_until), and an entry with the new one begin '
                          '(valid_from), at %s or later.', hour);
    end if;
end
$$;
comment on function postmeter.check_form_begins(postmeter.subscription, timestamptz) is
    'Refuses a subscription whose form of identity would begin before the hours that were sent under another one '
    'are over (PM012), and says when it can.';
