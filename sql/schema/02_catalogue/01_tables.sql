-- The catalogue: quotas, destinations, subscriptions, covers, dimensions, exemptions, routes, and their history.

-- a version says that something else changed: it is no change of its own
create function postmeter.catalogue_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- slots and canonical forms are written by workers and are no decisions of people
    if tg_op = 'UPDATE' and (to_jsonb(old) - '{next_slot_at,buyer,buyer_account,identity_form,invalid,version}'::text[])
                          = (to_jsonb(new) - '{next_slot_at,buyer,buyer_account,identity_form,invalid,version}'::text[])
                              then
        return null;
    end if;
    insert into postmeter.catalogue_change (changed_by, entry, old_row, new_row)
    values (session_user, tg_table_name,
            case when tg_op <> 'INSERT' then to_jsonb(old) - 'version' end,
            case when tg_op <> 'DELETE' then to_jsonb(new) - 'version' end);
    return null;
end
$$;
comment on function postmeter.catalogue_changed() is
    'Trigger of the catalogue''s tables: keeps every change in catalogue_change.';

create table postmeter.quota (
    id               integer          generated always as identity primary key,
    name             text collate "C" not null unique check (name <> ''),
    calls_per_second numeric          check (calls_per_second > 0 and calls_per_second <= 100000),
    next_slot_at     timestamptz      not null default '-infinity'
);
comment on table postmeter.quota is
    'A limit of calls that several destinations may share (AWS: one per seller account and region).';
comment on column postmeter.quota.id is 'Number of the quota.';
comment on column postmeter.quota.name is 'Its name in the catalogue.';
comment on column postmeter.quota.calls_per_second is 'Calls a second that the whole fleet may make; null: no limit.';
comment on column postmeter.quota.next_slot_at is
    'Real time before which the next call must not start; workers take slots by moving it on.';
create trigger history after insert or delete or update on postmeter.quota
    for each row execute function postmeter.catalogue_changed();

create table postmeter.destination (
    id             integer          generated always as identity primary key,
    name           text collate "C" not null unique check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    kind           text             not null check (kind <> ''),
    settings       jsonb            not null default '{}' check (jsonb_typeof(settings) = 'object'),
    quota_id       integer          not null references postmeter.quota(id),
    zone           text             not null default 'UTC',
    age_limit      interval         not null check (age_limit >= '01:00:00'),
    month_cutoff   interval         check (month_cutoff >= '00:00:00'),
    closing_window interval         check (closing_window >= '00:00:00'),
    margin         interval         not null default '00:10:00' check (margin >= '00:00:00'),
    lead           interval         not null default '00:30:00' check (lead >= '00:00:00'),
    grace          interval         not null default '00:05:00' check (grace >= '00:00:00'),
    late_policy    text             not null default 'expire' check (late_policy in ('expire', 'part', 'hold')),
    expired_policy text             not null default 'hold' check (expired_policy in ('hold', 'roll_forward')),
    dry_run        boolean          not null default false,
    paused         boolean          not null default false,
    records_max    integer          not null check (records_max >= 1),
    bytes_max      integer          not null check (bytes_max >= 1024),
    in_flight_max  integer          not null default 8 check (in_flight_max >= 1 and in_flight_max <= 1024),
    call_timeout   interval         not null default '00:00:10'
        check (call_timeout > '00:00:00' and call_timeout <= '00:00:15'),
    retry_first    interval         not null default '00:00:02' check (retry_first > '00:00:00'),
    retry_max      interval         not null default '00:05:00' check (retry_max >= '00:00:01'),
    tries_max      integer          check (tries_max >= 1),
    memory         interval         check (memory > '00:00:00'),
    shadow_of      integer          references postmeter.destination(id),
    version        bigint           not null default 1,
    constraint destination_shadow_never_calls check (shadow_of is null or dry_run)
);
comment on table postmeter.destination is
    'One configured marketplace endpoint with its policies. Secrets are never here: settings name a credentials '
    'profile at most.';
comment on column postmeter.destination.id is 'Number of the destination.';
comment on column postmeter.destination.name is 'Its name in the catalogue, in commands and in reports.';
comment on column postmeter.destination.kind is 'Which marketplace''s code serves it: aws, azure or google.';
comment on column postmeter.destination.settings is
    'Settings of that code (AWS: region, endpoint, profile; docs/catalogue.md has them all).';
comment on column postmeter.destination.quota_id is 'The quota its calls count against.';
comment on column postmeter.destination.zone is 'IANA zone whose calendar the billing month follows.';
comment on column postmeter.destination.age_limit is 'How old an hour may be when it arrives, counted from its start.';
comment on column postmeter.destination.month_cutoff is
    'How long after the end of a month its hours are still taken; null: no such rule.';
comment on column postmeter.destination.closing_window is
    'How long after the end of a subscription its hours are still taken; null: no such rule.';
comment on column postmeter.destination.margin is 'Taken off every deadline.';
comment on column postmeter.destination.lead is
    'So long before its deadline an hour is cut even while its usage is still arriving.';
comment on column postmeter.destination.grace is 'How long an hour stays open after its end.';
comment on column postmeter.destination.late_policy is
    'Late usage for which no unsent hour of its month is left: expire (its own hour, as a dead letter), part (in '
    'the open hour''s remittance, counted by its own month), hold.';
comment on column postmeter.destination.expired_policy is
    'What expired: hold it for a person, or roll_forward (release it to another hour of its month, with a decision '
    'signed by postmeter). Never what may have been billed.';
comment on column postmeter.destination.dry_run is 'Do everything but the call.';
comment on column postmeter.destination.paused is 'A person stopped sending; nothing is claimed.';
comment on column postmeter.destination.records_max is 'Records in one call.';
comment on column postmeter.destination.bytes_max is 'Bytes in one call''s body.';
comment on column postmeter.destination.in_flight_max is 'Calls at the same time, per worker.';
comment on column postmeter.destination.call_timeout is
    'A call without an answer by then is unknown. Shorter than a worker''s lease.';
comment on column postmeter.destination.retry_first is 'Delay after the first try.';
comment on column postmeter.destination.retry_max is 'No delay is longer.';
comment on column postmeter.destination.tries_max is 'Tries before a person is asked; null: until the deadline.';
comment on column postmeter.destination.memory is
    'How long the marketplace recognises a repeated key; null: as long as it takes the hour at all.';
comment on column postmeter.destination.shadow_of is
    'The live destination beside which this one, a shadow, counts the same usage and never calls. Cannot be '
    'changed.';
comment on column postmeter.destination.version is
    'Raised by every change of this row and of its quota''s limit, in the same transaction: nothing is claimed, '
    'and no call begins, by an older one.';
create trigger history after insert or delete or update on postmeter.destination
    for each row execute function postmeter.catalogue_changed();

create table postmeter.subscription (
    id             bigint           generated always as identity primary key,
    org            text             not null check (org <> ''),
    product        text collate "C" not null check (product <> ''),
    account        text             check (account <> ''),
    destination_id integer          not null references postmeter.destination(id),
    identity       jsonb            not null check (jsonb_typeof(identity) = 'object'),
    buyer          text collate "C",
    buyer_account  text,
    identity_form  text,
    invalid        text,
    valid_from     timestamptz      not null check ((extract(epoch from valid_from) % 1) = 0),
    valid_until    timestamptz      check ((extract(epoch from valid_until) % 1) = 0),
    contract       text collate "C",
    constraint subscription_valid_range check (valid_until > valid_from),
    constraint subscription_canonical
        check (((buyer is null) = (identity_form is null)) and ((buyer is null) or (invalid is null))),
    constraint subscription_contract_name check (contract ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    constraint subscription_buyer_is_no_contract check (buyer !~~ 'contract:%')
);
create index subscription_by_org on postmeter.subscription (org, product);
create index subscription_by_buyer on postmeter.subscription (destination_id, buyer);
-- squawk-ignore require-concurrent-index-creation
create index subscription_by_end on postmeter.subscription (valid_until) where valid_until is not null;
-- squawk-ignore require-concurrent-index-creation
create index subscription_begins_inside
    on postmeter.subscription (valid_from) where valid_from <> postmeter.hour_of(valid_from);
-- squawk-ignore require-concurrent-index-creation
create index subscription_by_contract on postmeter.subscription (destination_id, contract) where contract is not null;
comment on table postmeter.subscription is
    'Who buys what where: an org''s product at a marketplace account, for a time. It may begin and end at any '
    'second; usage belongs to the one that is valid when it is used, its remittance to the whole hour.';
comment on column postmeter.subscription.id is 'Number of the subscription.';
comment on column postmeter.subscription.org is 'The customer, by your stable tag.';
comment on column postmeter.subscription.product is 'The product, by your stable tag.';
comment on column postmeter.subscription.account is
    'Which marketplace account, where the org has several: what usage.account names.';
comment on column postmeter.subscription.destination_id is 'Where its usage is reported.';
comment on column postmeter.subscription.identity is
    'The buyer as the marketplace knows it (AWS: license_arn or product_code, with customer_aws_account_id or '
    'customer_identifier).';
comment on column postmeter.subscription.buyer is
    'That identity as canonical text, written by the marketplace''s code: null until a worker or `catalog apply` '
    'has read it.';
comment on column postmeter.subscription.buyer_account is 'The buyer''s account at the marketplace.';
comment on column postmeter.subscription.identity_form is 'Which form of identity it is.';
comment on column postmeter.subscription.invalid is
    'Why the marketplace''s code refuses this identity; its usage is held until it is mended.';
comment on column postmeter.subscription.valid_from is 'Its begin.';
comment on column postmeter.subscription.valid_until is 'End (exclusive), at any second; null: open.';
comment on column postmeter.subscription.contract is
    'The contract on which its usage counts, by the name that the catalogue gives it (1 to 63 of A-Z, a-z, 0-9 and '
    '._-); null: that of its buyer. It is one with the subscriptions of its product and destination that have the '
    'same name. A change counts from the next month on, where this one is metered.';
create trigger history after insert or delete or update on postmeter.subscription
    for each row execute function postmeter.catalogue_changed();

create table postmeter.cover (
    subscription_id bigint           not null references postmeter.subscription(id) on delete cascade,
    metric          text collate "C" not null check (metric <> ''),
    quantity        numeric          not null
        check ((quantity >= (0)::numeric) and (quantity <= ('1000000000000'::bigint)::numeric)
            and (scale(trim_scale(quantity)) <= 15)),
    primary key (subscription_id, metric)
);
comment on table postmeter.cover is 'What a subscription''s contract covers: metric units a month that are not billed.';
comment on column postmeter.cover.subscription_id is 'The subscription.';
comment on column postmeter.cover.metric is 'The metric.';
comment on column postmeter.cover.quantity is 'Units of the metric covered each month.';
create trigger history after insert or delete or update on postmeter.cover
    for each row execute function postmeter.catalogue_changed();

create table postmeter.dimension (
    id                 bigint           generated always as identity primary key,
    destination_id     integer          not null references postmeter.destination(id),
    product            text collate "C" not null check (product <> ''),
    metric             text collate "C" not null check (metric <> ''),
    name               text             not null check (name <> '' and (octet_length(name) <= 255)),
    factor_numerator   bigint           not null default 1
        check (factor_numerator > 0 and factor_numerator <= 1000000000),
    factor_denominator bigint           not null default 1
        check (factor_denominator > 0 and factor_denominator <= 1000000000),
    rounding           text             not null default 'up' check (rounding in ('up', 'down', 'nearest')),
    decimals           integer          not null default 0 check (decimals >= 0 and decimals <= 15),
    month_end          text             not null default 'round_up' check (month_end in ('round_up', 'drop')),
    unit_price         numeric
        check ((unit_price >= (0)::numeric) and (unit_price < ('1000000000000'::bigint)::numeric)),
    currency           text             check (currency ~ '^[A-Z]{3}$'),
    valid_from         date             not null default '2000-01-01' check (extract(day from valid_from) = 1),
    max_quantity       numeric
        check ((max_quantity > (0)::numeric) and (max_quantity < ('1000000000000'::bigint)::numeric)),
    times_usual        numeric
        check ((times_usual > (1)::numeric) and (times_usual < ('1000000000000'::bigint)::numeric)),
    hour_alert         numeric
        check ((hour_alert > (0)::numeric) and (hour_alert < ('1000000000000'::bigint)::numeric)),
    zero               text             not null default 'skip' check (zero in ('skip', 'send')),
    zero_since         timestamptz,
    allocate_by        text[]           not null default '{}'::text[]
        check ((cardinality(allocate_by) <= 5) and (array_position(allocate_by, null) is null)),
    constraint dimension_once_a_month unique (destination_id, product, metric, valid_from),
    constraint dimension_priced check ((unit_price is null) = (currency is null)),
    constraint dimension_zero_since_check check ((zero = 'send') = (zero_since is not null))
);
-- what a fold asks each time: whether there is any limit
-- squawk-ignore require-concurrent-index-creation
create index dimension_limited on postmeter.dimension (id) where max_quantity is not null or times_usual is not null;
-- squawk-ignore require-concurrent-index-creation
create index dimension_zero on postmeter.dimension (id) where zero = 'send';
-- squawk-ignore require-concurrent-index-creation
create index dimension_shared on postmeter.dimension (id) where allocate_by <> '{}';
comment on table postmeter.dimension is
    'The marketplace''s name for a metric, and how its billing quantity is counted. Changes at a month''s start '
    'only.';
comment on column postmeter.dimension.id is 'Number of the dimension.';
comment on column postmeter.dimension.destination_id is 'The marketplace.';
comment on column postmeter.dimension.product is 'Our product.';
comment on column postmeter.dimension.metric is 'Our metric.';
comment on column postmeter.dimension.name is 'Their name. Several metrics may share one.';
comment on column postmeter.dimension.factor_numerator is 'Billing units per metric unit: numerator.';
comment on column postmeter.dimension.factor_denominator is 'Billing units per metric unit: denominator.';
comment on column postmeter.dimension.rounding is
    'up: started units are billed; down: full units only; nearest: half and more counts.';
comment on column postmeter.dimension.decimals is 'Digits after the point of a billing quantity (AWS: 0 or up to 6).';
comment on column postmeter.dimension.month_end is
    'What the month''s last cut does with a remainder below one unit: round_up bills it, drop leaves it carried.';
comment on column postmeter.dimension.unit_price is 'Price of one billing unit, for information; never sent.';
comment on column postmeter.dimension.currency is 'ISO 4217 code of the price.';
comment on column postmeter.dimension.valid_from is 'First month, by its first day.';
comment on column postmeter.dimension.max_quantity is
    'A usage of more than this, in units of the metric, is held as implausible. Null: no limit.';
comment on column postmeter.dimension.times_usual is
    'A usage of more than this many times its org''s usual is held as implausible; an org without a usual is bound '
    'by max_quantity only. Null: no limit.';
comment on column postmeter.dimension.hour_alert is
    'More than this of the metric in one hour of one buyer is an alert; nothing is held for it. Null: none.';
comment on column postmeter.dimension.zero is
    'What becomes of an hour in which nothing is to be billed: skip, no call is made; send, it is reported as '
    'zero, a lead before its deadline.';
comment on column postmeter.dimension.zero_since is
    'Since when zero is send: only hours that begin after that are reported as zero.';
comment on column postmeter.dimension.allocate_by is
    'Attributes of the usage by which a remittance''s quantity is shared out for the buyer (AWS: usage '
    'allocations); empty: it is not.';
create trigger history after insert or delete or update on postmeter.dimension
    for each row execute function postmeter.catalogue_changed();

create table postmeter.exemption (
    id          bigint      generated always as identity primary key,
    org         text        not null check (org <> ''),
    product     text        check (product <> ''),
    reason      text        not null check (reason <> ''),
    valid_from  timestamptz not null default '2000-01-01 00:00:00+00'
        check (valid_from = postmeter.hour_of(valid_from)),
    valid_until timestamptz,
    constraint exemption_check check ((valid_until = postmeter.hour_of(valid_until)) and valid_until > valid_from)
);
create index exemption_by_org on postmeter.exemption (org);
comment on table postmeter.exemption is 'Orgs that are not billed through a marketplace, and why.';
comment on column postmeter.exemption.id is 'Number of the exemption.';
comment on column postmeter.exemption.org is 'The org.';
comment on column postmeter.exemption.product is 'Only for this product; null: for all.';
comment on column postmeter.exemption.reason is 'Why, in a sentence.';
comment on column postmeter.exemption.valid_from is 'First hour.';
comment on column postmeter.exemption.valid_until is 'End (exclusive); null: open.';
create trigger history after insert or delete or update on postmeter.exemption
    for each row execute function postmeter.catalogue_changed();

create table postmeter.catalogue_change (
    id         bigint      generated always as identity primary key,
    changed_at timestamptz not null default postmeter.clock(),
    changed_by text        not null default CURRENT_USER,
    entry      text        not null,
    old_row    jsonb,
    new_row    jsonb
);
comment on table postmeter.catalogue_change is
    'History of the catalogue: every row before and after each change. Append-only.';
comment on column postmeter.catalogue_change.id is 'Order of the changes.';
comment on column postmeter.catalogue_change.changed_at is 'When.';
comment on column postmeter.catalogue_change.changed_by is 'Database role that made it.';
comment on column postmeter.catalogue_change.entry is 'Table of the catalogue.';
comment on column postmeter.catalogue_change.old_row is 'The row before; null: it is new.';
comment on column postmeter.catalogue_change.new_row is 'The row after; null: it was removed.';
create trigger append_only before delete or update or truncate on postmeter.catalogue_change
    for each statement execute function postmeter.forbid_change();

create table postmeter.route (
    id      bigint           generated always as identity primary key,
    -- lower case as postmeter.track lower-cases, by the collation of the database
    after   text collate "C" not null check (after <> '' and (after = lower((after collate "default")))),
    status  text collate "C" not null check (status <> '' and (status = lower((status collate "default")))),
    service text collate "C" not null check (service <> '' and (service = lower((service collate "default")))),
    within  interval         not null check (within >= '00:00:01' and within <= '1 year'),
    made_at timestamptz      not null default postmeter.clock(),
    unique (after, status, service),
    constraint route_leads_elsewhere check (service <> after)
);
comment on table postmeter.route is
    'Whom a request is handed to: once a service has said a status, another must speak. A part of the catalogue.';
comment on column postmeter.route.id is 'Its number.';
comment on column postmeter.route.after is 'The service that hands over, in lower case.';
comment on column postmeter.route.status is 'What it says when it does, in lower case.';
comment on column postmeter.route.service is 'The service that must speak then, in lower case.';
comment on column postmeter.route.within is 'For so long its silence is no matter.';
comment on column postmeter.route.made_at is
    'Since when it counts: what was recorded before was handed over without it.';
create trigger history after insert or delete or update on postmeter.route
    for each row execute function postmeter.catalogue_changed();

create function postmeter.sign_catalogue(who text, why text, detail jsonb) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    made bigint;
begin
    perform postmeter.check_decider(who, why);
    insert into postmeter.decision (who, why, verb, detail) values (who, why, 'apply', coalesce(detail, '{}'))
        returning id into made;
    return made;
end
$$;
comment on function postmeter.sign_catalogue(text, text, jsonb) is
    'Writes down who applied a catalogue and why, in the transaction that applies it. What it changed is in '
    'postmeter.catalogue_change.';

create function postmeter.contract_name(product text, name text) returns text
language sql immutable parallel safe
begin atomic
select 'contract:' || contract_name.product || '/' || contract_name.name;
end;
comment on function postmeter.contract_name(text, text) is
    'A named contract as meter.buyer has it: no marketplace''s buyer begins so. Null without a name.';
