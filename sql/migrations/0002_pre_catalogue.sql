-- 0002_pre_catalogue: who buys what where, what the marketplaces call it, and how it is counted.
-- programs: from 0002
-- lock: none

create table postmeter.quota (
    id               integer generated always as identity primary key,
    name             text    not null unique check (name <> ''),
    calls_per_second numeric check (calls_per_second > 0 and calls_per_second <= 100000),
    next_slot_at     timestamptz not null default '-infinity'
);
comment on table postmeter.quota is 'A limit of calls that several destinations may share (AWS: one per seller account and region).';
comment on column postmeter.quota.id is 'Number of the quota.';
comment on column postmeter.quota.name is 'Its name in the catalogue.';
comment on column postmeter.quota.calls_per_second is 'Calls a second that the whole fleet may make; null: no limit.';
comment on column postmeter.quota.next_slot_at is 'Real time before which the next call must not start; workers take slots by moving it on.';

create table postmeter.destination (
    id             integer  generated always as identity primary key,
    name           text     not null unique check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    kind           text     not null check (kind <> ''),
    settings       jsonb    not null default '{}' check (jsonb_typeof(settings) = 'object'),
    quota_id       integer  not null references postmeter.quota,
    zone           text     not null default 'UTC',
    age_limit      interval not null check (age_limit >= '1 hour'),
    month_cutoff   interval check (month_cutoff >= '0'),
    closing_window interval check (closing_window >= '0'),
    margin         interval not null default '10 minutes' check (margin >= '0'),
    lead           interval not null default '30 minutes' check (lead >= '0'),
    grace          interval not null default '5 minutes' check (grace >= '0'),
    late_policy    text     not null default 'expire' check (late_policy in ('expire', 'part', 'hold')),
    expired_policy text     not null default 'hold' check (expired_policy in ('hold', 'roll_forward')),
    dry_run        boolean  not null default false,
    paused         boolean  not null default false,
    records_max    integer  not null check (records_max >= 1),
    bytes_max      integer  not null check (bytes_max >= 1024),
    in_flight_max  integer  not null default 8 check (in_flight_max between 1 and 1024),
    call_timeout   interval not null default '10 seconds' check (call_timeout > '0' and call_timeout <= '15 seconds'),
    retry_first    interval not null default '2 seconds' check (retry_first > '0'),
    retry_max      interval not null default '5 minutes' check (retry_max >= '1 second'),
    tries_max      integer  check (tries_max >= 1),
    memory         interval check (memory > '0'),
    shadow_of      integer references postmeter.destination,
    constraint destination_shadow_never_calls check (shadow_of is null or dry_run)
);
comment on table postmeter.destination is 'One configured marketplace endpoint with its policies. Secrets are never here: settings name a credentials profile at most.';
comment on column postmeter.destination.id is 'Number of the destination.';
comment on column postmeter.destination.name is 'Its name in the catalogue, in commands and in reports.';
comment on column postmeter.destination.kind is 'Which marketplace''s code serves it: aws, azure or google.';
comment on column postmeter.destination.settings is 'Settings of that code (AWS: region, endpoint, profile; docs/catalogue.md has them all).';
comment on column postmeter.destination.quota_id is 'The quota its calls count against.';
comment on column postmeter.destination.zone is 'IANA zone whose calendar the billing month follows.';
comment on column postmeter.destination.age_limit is 'How old an hour may be when it arrives, counted from its start.';
comment on column postmeter.destination.month_cutoff is 'How long after the end of a month its hours are still taken; null: no such rule.';
comment on column postmeter.destination.closing_window is 'How long after the end of a subscription its hours are still taken; null: no such rule.';
comment on column postmeter.destination.margin is 'Taken off every deadline.';
comment on column postmeter.destination.lead is 'So long before its deadline an hour is cut even while its usage is still arriving.';
comment on column postmeter.destination.grace is 'How long an hour stays open after its end.';
comment on column postmeter.destination.late_policy is 'Late usage for which no unsent hour of its month is left: expire (its own hour, as a dead letter), part (in the open hour''s remittance, counted by its own month), hold.';
comment on column postmeter.destination.expired_policy is 'What expired: hold it for a person, or roll_forward (release it to another hour of its month, with a decision signed by postmeter). Never what may have been billed.';
comment on column postmeter.destination.dry_run is 'Do everything but the call.';
comment on column postmeter.destination.paused is 'A person stopped sending; nothing is claimed.';
comment on column postmeter.destination.records_max is 'Records in one call.';
comment on column postmeter.destination.bytes_max is 'Bytes in one call''s body.';
comment on column postmeter.destination.in_flight_max is 'Calls at the same time, per worker.';
comment on column postmeter.destination.call_timeout is 'A call without an answer by then is unknown. Shorter than a worker''s lease.';
comment on column postmeter.destination.retry_first is 'Delay after the first try.';
comment on column postmeter.destination.retry_max is 'No delay is longer.';
comment on column postmeter.destination.tries_max is 'Tries before a person is asked; null: until the deadline.';
comment on column postmeter.destination.memory is 'How long the marketplace recognises a repeated key; null: as long as it takes the hour at all.';
comment on column postmeter.destination.shadow_of is 'The live destination beside which this one, a shadow, counts the same usage and never calls. Cannot be changed.';

create function postmeter.check_shadow() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and new.shadow_of is distinct from old.shadow_of then
        raise exception 'destination % cannot become a shadow, cease to be one, or become that of another', old.name
            using errcode = 'PM014', schema = 'postmeter', table = 'destination', column = 'shadow_of', constraint = 'destination_shadow_for_good',
                  hint = 'Make a new destination: what a shadow counted was never sent, and must not look as if it had been.';
    end if;
    perform 1 from postmeter.destination t where t.id = new.shadow_of and (t.shadow_of is not null or t.id = new.id);
    if found then
        raise exception 'destination % would be the shadow of a shadow', new.name
            using errcode = 'PM014', schema = 'postmeter', table = 'destination', column = 'shadow_of', constraint = 'destination_shadow_of_live';
    end if;
    return new;
end
$$;
comment on function postmeter.check_shadow() is 'Trigger: a shadow belongs to a live destination, and stays one for good (PM014).';
create trigger check_shadow before insert or update of shadow_of on postmeter.destination
    for each row execute function postmeter.check_shadow();

create table postmeter.subscription (
    id             bigint generated always as identity primary key,
    org            text   not null check (org <> ''),
    product        text   not null check (product <> ''),
    account        text   check (account <> ''),
    destination_id integer not null references postmeter.destination,
    identity       jsonb  not null check (jsonb_typeof(identity) = 'object'),
    buyer          text,
    buyer_account  text,
    identity_form  text,
    invalid        text,
    valid_from     timestamptz not null check (valid_from = postmeter.hour_of(valid_from)),
    valid_until    timestamptz check (valid_until = postmeter.hour_of(valid_until)),
    constraint subscription_valid_range check (valid_until > valid_from),
    constraint subscription_canonical check ((buyer is null) = (identity_form is null) and (buyer is null or invalid is null))
);
create index subscription_by_org on postmeter.subscription (org, product);
create index subscription_by_buyer on postmeter.subscription (destination_id, buyer);
comment on table postmeter.subscription is 'Who buys what where: an org''s product at a marketplace account, for a time that begins and ends on the hour.';
comment on column postmeter.subscription.id is 'Number of the subscription.';
comment on column postmeter.subscription.org is 'The customer, by your stable tag.';
comment on column postmeter.subscription.product is 'The product, by your stable tag.';
comment on column postmeter.subscription.account is 'Which marketplace account, where the org has several: what usage.account names.';
comment on column postmeter.subscription.destination_id is 'Where its usage is reported.';
comment on column postmeter.subscription.identity is 'The buyer as the marketplace knows it (AWS: license_arn or product_code, with customer_aws_account_id or customer_identifier).';
comment on column postmeter.subscription.buyer is 'That identity as canonical text, written by the marketplace''s code: null until a worker or `catalog apply` has read it.';
comment on column postmeter.subscription.buyer_account is 'The buyer''s account at the marketplace.';
comment on column postmeter.subscription.identity_form is 'Which form of identity it is.';
comment on column postmeter.subscription.invalid is 'Why the marketplace''s code refuses this identity; its usage is held until it is mended.';
comment on column postmeter.subscription.valid_from is 'First hour.';
comment on column postmeter.subscription.valid_until is 'End (exclusive); null: open.';

create table postmeter.cover (
    subscription_id bigint  not null references postmeter.subscription on delete cascade,
    metric          text    not null check (metric <> ''),
    quantity        numeric not null check (quantity >= 0 and quantity <= 1000000000000 and scale(trim_scale(quantity)) <= 15),
    primary key (subscription_id, metric)
);
comment on table postmeter.cover is 'What a subscription''s contract covers: metric units a month that are not billed.';
comment on column postmeter.cover.subscription_id is 'The subscription.';
comment on column postmeter.cover.metric is 'The metric.';
comment on column postmeter.cover.quantity is 'Units of the metric covered each month.';

create table postmeter.dimension (
    id             bigint  generated always as identity primary key,
    destination_id integer not null references postmeter.destination,
    product        text    not null check (product <> ''),
    metric         text    not null check (metric <> ''),
    name           text    not null check (name <> '' and octet_length(name) <= 255),
    factor_numerator   bigint not null default 1 check (factor_numerator > 0 and factor_numerator <= 1000000000),
    factor_denominator bigint not null default 1 check (factor_denominator > 0 and factor_denominator <= 1000000000),
    rounding       text    not null default 'up' check (rounding in ('up', 'down', 'nearest')),
    decimals       integer not null default 0 check (decimals between 0 and 15),
    month_end      text    not null default 'round_up' check (month_end in ('round_up', 'drop')),
    unit_price     numeric check (unit_price >= 0 and unit_price < 1000000000000),
    currency       text    check (currency ~ '^[A-Z]{3}$'),
    valid_from     date    not null default '2000-01-01' check (extract(day from valid_from) = 1),
    constraint dimension_priced check ((unit_price is null) = (currency is null)),
    constraint dimension_once_a_month unique (destination_id, product, metric, valid_from)
);
comment on table postmeter.dimension is 'The marketplace''s name for a metric, and how its billing quantity is counted. Changes at a month''s start only.';
comment on column postmeter.dimension.id is 'Number of the dimension.';
comment on column postmeter.dimension.destination_id is 'The marketplace.';
comment on column postmeter.dimension.product is 'Our product.';
comment on column postmeter.dimension.metric is 'Our metric.';
comment on column postmeter.dimension.name is 'Their name. Several metrics may share one.';
comment on column postmeter.dimension.factor_numerator is 'Billing units per metric unit: numerator.';
comment on column postmeter.dimension.factor_denominator is 'Billing units per metric unit: denominator.';
comment on column postmeter.dimension.rounding is 'up: started units are billed; down: full units only; nearest: half and more counts.';
comment on column postmeter.dimension.decimals is 'Digits after the point of a billing quantity (AWS: 0 or up to 6).';
comment on column postmeter.dimension.month_end is 'What the month''s last cut does with a remainder below one unit: round_up bills it, drop leaves it carried.';
comment on column postmeter.dimension.unit_price is 'Price of one billing unit, for information; never sent.';
comment on column postmeter.dimension.currency is 'ISO 4217 code of the price.';
comment on column postmeter.dimension.valid_from is 'First month, by its first day.';

create table postmeter.exemption (
    id          bigint generated always as identity primary key,
    org         text   not null check (org <> ''),
    product     text   check (product <> ''),
    reason      text   not null check (reason <> ''),
    valid_from  timestamptz not null default '2000-01-01 00:00:00+00' check (valid_from = postmeter.hour_of(valid_from)),
    valid_until timestamptz check (valid_until = postmeter.hour_of(valid_until) and valid_until > valid_from)
);
create index exemption_by_org on postmeter.exemption (org);
comment on table postmeter.exemption is 'Orgs that are not billed through a marketplace, and why.';
comment on column postmeter.exemption.id is 'Number of the exemption.';
comment on column postmeter.exemption.org is 'The org.';
comment on column postmeter.exemption.product is 'Only for this product; null: for all.';
comment on column postmeter.exemption.reason is 'Why, in a sentence.';
comment on column postmeter.exemption.valid_from is 'First hour.';
comment on column postmeter.exemption.valid_until is 'End (exclusive); null: open.';

create table postmeter.catalogue_change (
    id         bigint generated always as identity primary key,
    changed_at timestamptz not null default postmeter.clock(),
    changed_by text        not null default current_user,
    entry      text        not null,
    old_row    jsonb,
    new_row    jsonb
);
comment on table postmeter.catalogue_change is 'History of the catalogue: every row before and after each change. Append-only.';
comment on column postmeter.catalogue_change.id is 'Order of the changes.';
comment on column postmeter.catalogue_change.changed_at is 'When.';
comment on column postmeter.catalogue_change.changed_by is 'Database role that made it.';
comment on column postmeter.catalogue_change.entry is 'Table of the catalogue.';
comment on column postmeter.catalogue_change.old_row is 'The row before; null: it is new.';
comment on column postmeter.catalogue_change.new_row is 'The row after; null: it was removed.';
create trigger append_only before update or delete or truncate on postmeter.catalogue_change
    for each statement execute function postmeter.forbid_change();

create function postmeter.catalogue_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- slots and canonical forms are written by workers and are no decisions of people
    if tg_op = 'UPDATE' and (to_jsonb(old) - '{next_slot_at,buyer,buyer_account,identity_form,invalid}'::text[])
                          = (to_jsonb(new) - '{next_slot_at,buyer,buyer_account,identity_form,invalid}'::text[]) then
        return null;
    end if;
    insert into postmeter.catalogue_change (changed_by, entry, old_row, new_row)
    values (session_user, tg_table_name,
            case when tg_op <> 'INSERT' then to_jsonb(old) end,
            case when tg_op <> 'DELETE' then to_jsonb(new) end);
    return null;
end
$$;
comment on function postmeter.catalogue_changed() is 'Trigger of the catalogue''s tables: keeps every change in catalogue_change.';
create trigger history after insert or update or delete on postmeter.quota for each row execute function postmeter.catalogue_changed();
create trigger history after insert or update or delete on postmeter.destination for each row execute function postmeter.catalogue_changed();
create trigger history after insert or update or delete on postmeter.subscription for each row execute function postmeter.catalogue_changed();
create trigger history after insert or update or delete on postmeter.cover for each row execute function postmeter.catalogue_changed();
create trigger history after insert or update or delete on postmeter.dimension for each row execute function postmeter.catalogue_changed();
create trigger history after insert or update or delete on postmeter.exemption for each row execute function postmeter.catalogue_changed();

create function postmeter.check_subscription() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    other postmeter.subscription;
begin
    -- one writer at a time per org, product and destination: two overlapping rows must not pass each other unseen
    perform pg_advisory_xact_lock(hashtextextended('postmeter.subscription ' || new.destination_id, 0));
    if tg_op = 'UPDATE' and (new.identity, new.destination_id) is distinct from (old.identity, old.destination_id) then
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
        return new;
    end if;
    select s.* into other from postmeter.subscription s
    where s.id <> new.id and s.product = new.product and s.destination_id = new.destination_id
      and (s.buyer_account = new.buyer_account or s.org = new.org) and s.identity_form <> new.identity_form
      and s.valid_from < coalesce(new.valid_until, 'infinity') and new.valid_from < coalesce(s.valid_until, 'infinity')
    limit 1;
    if found then
        raise exception 'buyer % of product % would be known by two identity forms (% and %) in one hour and be billed twice',
            new.buyer_account, new.product, other.identity_form, new.identity_form
            using errcode = 'PM012', schema = 'postmeter', table = 'subscription', column = 'identity',
                  constraint = 'subscription_one_identity_form',
                  hint = 'End the old form at the hour at which the new one begins.';
    end if;
    return new;
end
$$;
comment on function postmeter.check_subscription() is 'Trigger: refuses overlapping subscriptions (PM011) and a second identity form for the same buyer, product and hour (PM012).';
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
comment on function postmeter.check_dimension() is 'Trigger: metrics that share a dimension must share its rounding (PM013).';
create trigger check_dimension before insert or update on postmeter.dimension
    for each row execute function postmeter.check_dimension();

insert into postmeter.migration (version, name) values (2, '0002_pre_catalogue');
