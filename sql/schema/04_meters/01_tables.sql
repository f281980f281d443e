-- Meters, remittances and allocations.

create table postmeter.meter (
    id             bigint           generated always as identity primary key,
    destination_id integer          not null,
    buyer          text collate "C" not null,
    dimension      text collate "C" not null,
    month          date             not null,
    rounding       text             not null,
    decimals       integer          not null,
    month_end      text             not null,
    billed         numeric          not null default 0,
    carried        numeric          not null default 0,
    billable       numeric          not null default 0 check (billable >= 0),
    denominator    numeric          not null default 1,
    cuts           integer          not null default 0,
    unique (destination_id, buyer, dimension, month)
);
create index meter_billable on postmeter.meter (id) where billable > 0;
create index meter_month on postmeter.meter (month, destination_id);
comment on table postmeter.meter is
    'A contract''s dimension over a billing month: what rounding, cover and carry are counted on. A remittance '
    'belongs to the meter of its own key and counts on that of its contract, which is the same unless the contract '
    'has a name or its buyer has changed within the month. Written once per cut; locked before its remittances.';
comment on column postmeter.meter.id is 'Number of the meter.';
comment on column postmeter.meter.destination_id is 'The destination.';
comment on column postmeter.meter.buyer is
    'The contract, by the buyer in canonical text under which its month began, or by its name: '
    'contract:PRODUCT/NAME.';
comment on column postmeter.meter.dimension is 'The marketplace''s name of the dimension.';
comment on column postmeter.meter.month is 'First day of the billing month, in the destination''s zone.';
comment on column postmeter.meter.rounding is 'Rounding of the dimension in this month.';
comment on column postmeter.meter.decimals is 'Decimals of the dimension in this month.';
comment on column postmeter.meter.month_end is 'What the month''s last cut does with a remainder.';
comment on column postmeter.meter.billed is
    'Billing units of all its cut remittances that no decision has released, whatever became of them.';
comment on column postmeter.meter.carried is
    'Billing units x common denominator: used beyond cover and not billed yet (a remainder), or billed ahead '
    '(negative: credit).';
comment on column postmeter.meter.billable is
    'Billing units that a cut would bill now: more than zero after a release or a deferral; maintenance opens an '
    'hour for it.';
comment on column postmeter.meter.denominator is 'Common denominator of the factors when carried was written.';
comment on column postmeter.meter.cuts is 'How often it was cut.';

create table postmeter.meter_metric (
    id                 bigint           generated always as identity primary key,
    meter_id           bigint           not null,
    product            text collate "C" not null,
    metric             text collate "C" not null,
    factor_numerator   bigint           not null,
    factor_denominator bigint           not null,
    used               numeric          not null default 0,
    covered            numeric          not null default 0 check (covered >= 0),
    usages             bigint           not null default 0,
    unique (meter_id, product, metric)
);
comment on table postmeter.meter_metric is
    'The metrics counted on a meter, each with its factor of that month and its totals.';
comment on column postmeter.meter_metric.id is 'Number; what allocations point to.';
comment on column postmeter.meter_metric.meter_id is 'The meter.';
comment on column postmeter.meter_metric.product is 'Our product.';
comment on column postmeter.meter_metric.metric is 'Our metric.';
comment on column postmeter.meter_metric.factor_numerator is 'Billing units per metric unit: numerator.';
comment on column postmeter.meter_metric.factor_denominator is 'Billing units per metric unit: denominator.';
comment on column postmeter.meter_metric.used is 'Metric units of all hours cut so far this month.';
comment on column postmeter.meter_metric.covered is
    'Of these, covered by contract: lowered or ended cover acts on later usage only.';
comment on column postmeter.meter_metric.usages is 'Usages of all hours cut so far this month; written with used.';

create table postmeter.delivery (
    id              bigint           generated always as identity primary key,
    destination_id  integer          not null,
    kind            text             not null default 'usage' check (kind = 'usage'),
    key             text collate "C" not null,
    meter_id        bigint,
    hour            timestamptz,
    identity        jsonb,
    product         text,
    status          text             not null default 'open'
        check (status in ('open', 'nothing_due', 'due', 'in_flight', 'accepted', 'rejected', 'expired', 'conflict',
            'unknown', 'held', 'dry_run', 'written_off', 'released')),
    reason          text
        check (reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
            'too_late', 'month_closed', 'quantity_out_of_range', 'unrecognised_answer', 'tries_exhausted', 'poison',
            'by_operator', 'lost_time')),
    maybe_billed    boolean          not null default false,
    maybe_since     timestamptz,
    confirmed       boolean,
    deadline        timestamptz      not null,
    round           integer          not null default 0,
    releases        integer          not null default 0,
    quantity        numeric          check (quantity >= 0),
    body            text             check (octet_length(body) <= 65536),
    batch_group     text,
    idempotency_key uuid,
    batch_limit     integer          check (batch_limit >= 1),
    tries           integer          not null default 0,
    attempts        integer          not null default 0,
    deaths          integer          not null default 0,
    attempt_id      uuid,
    evidence_read   bigint           not null default 0,
    shown_quantity  numeric,
    shadow          boolean          not null default false,
    opened_at       timestamptz      not null default postmeter.clock(),
    cut_at          timestamptz,
    changed_at      timestamptz      not null default postmeter.clock(),
    unique (meter_id, hour),
    unique (destination_id, key),
    constraint delivery_usage
        check (kind <> 'usage' or (meter_id is not null and hour is not null and identity is not null
            and product is not null)),
    constraint delivery_in_flight check ((status = 'in_flight') = (attempt_id is not null)),
    constraint delivery_frozen
        check ((status in ('open', 'nothing_due', 'held'))
            or (quantity is not null and body is not null and idempotency_key is not null and batch_group is not null
            and cut_at is not null)),
    constraint delivery_open check (status <> 'open' or (quantity is null and body is null and (not maybe_billed))),
    constraint delivery_held check ((status = 'held') = (reason is not null)),
    constraint delivery_maybe check (maybe_billed = (maybe_since is not null)),
    constraint delivery_evidence check ((not maybe_billed) or (status in ('due', 'in_flight', 'unknown', 'held'))),
    constraint delivery_unknown check (status <> 'unknown' or maybe_billed),
    constraint delivery_shadow
        check ((not shadow) or ((not maybe_billed) and confirmed is null and shown_quantity is null
            and (status in ('open', 'nothing_due', 'due', 'in_flight', 'dry_run', 'expired', 'held', 'released',
            'written_off'))))
) with (fillfactor=34, autovacuum_vacuum_scale_factor=0.05);
create index delivery_suspects on postmeter.delivery (id) where deaths > 0;
comment on table postmeter.delivery is
    'Something owed to a destination; of kind usage it is a remittance: one per key. Touched a few times in its '
    'life; nothing claims from it.';
comment on column postmeter.delivery.id is 'Number of the delivery.';
comment on column postmeter.delivery.destination_id is 'Where it is owed.';
comment on column postmeter.delivery.kind is 'usage: a remittance.';
comment on column postmeter.delivery.key is 'What the marketplace deduplicates on, as canonical text.';
comment on column postmeter.delivery.meter_id is 'The meter of its own hour.';
comment on column postmeter.delivery.hour is 'The hour it reports, UTC.';
comment on column postmeter.delivery.identity is 'The buyer''s identity as it is sent; fixed when the hour is opened.';
comment on column postmeter.delivery.product is 'Our product.';
comment on column postmeter.delivery.status is 'Where it stands; docs/states.md is the chart.';
comment on column postmeter.delivery.reason is 'Why it is held: a stable code.';
comment on column postmeter.delivery.maybe_billed is
    'An attempt may have arrived and nothing has resolved it: only evidence or a person moves it.';
comment on column postmeter.delivery.maybe_since is 'When the earliest such attempt was made.';
comment on column postmeter.delivery.confirmed is
    'Accepted: whether they confirmed the quantity (a bare duplicate does not).';
comment on column postmeter.delivery.deadline is 'Last moment at which it may be sent, margin taken off.';
comment on column postmeter.delivery.round is
    'How often its hour was cut; allocations of an older round are counted already.';
comment on column postmeter.delivery.releases is 'How often a decision released this key; part of the idempotency key.';
comment on column postmeter.delivery.quantity is 'Billing units to send; frozen by the cut.';
comment on column postmeter.delivery.body is 'The record to send, to the letter; frozen by the cut.';
comment on column postmeter.delivery.batch_group is 'Only deliveries of one group share a call.';
comment on column postmeter.delivery.idempotency_key is 'UUIDv5 of destination, key and releases.';
comment on column postmeter.delivery.batch_limit is
    'At most so many in its next call, while a refused batch is being halved.';
comment on column postmeter.delivery.tries is 'Attempts that count against the retry policy.';
comment on column postmeter.delivery.attempts is 'All attempts.';
comment on column postmeter.delivery.deaths is
    'Workers that died while it was in their hands, since the last answer. From the first on it is claimed alone.';
comment on column postmeter.delivery.attempt_id is 'The open attempt.';
comment on column postmeter.delivery.evidence_read is 'Last late evidence that was considered.';
comment on column postmeter.delivery.shown_quantity is 'What the marketplace showed that it holds, if it did.';
comment on column postmeter.delivery.shadow is
    'Its destination is a shadow: it is never sent, and nothing can say that it was.';
comment on column postmeter.delivery.opened_at is 'When its hour was opened (again).';
comment on column postmeter.delivery.cut_at is 'When its hour was cut last.';
comment on column postmeter.delivery.changed_at is 'When its status last changed.';

create table postmeter.allocation (
    usage_id        uuid        not null,
    destination_id  integer     not null,
    delivery_id     bigint      not null,
    meter_metric_id bigint      not null,
    round           integer     not null,
    quantity        numeric     not null,
    hour            timestamptz not null,
    subscription_id bigint      not null,
    primary key (usage_id, destination_id)
) partition by range (usage_id);
create index allocation_by_delivery on postmeter.allocation (delivery_id);
-- "what did this org use this month": written by fold, so that no producer pays for it
create index allocation_by_subscription on postmeter.allocation (subscription_id, hour);
comment on table postmeter.allocation is
    'Which remittance counts a usage, per destination, for ever. Written by fold; ended by a changed catalogue '
    'while its hour is open; moved by recount, which leaves a row in recounted.';
comment on column postmeter.allocation.usage_id is 'The usage.';
comment on column postmeter.allocation.destination_id is 'The destination.';
comment on column postmeter.allocation.delivery_id is 'The remittance whose cut counts it.';
comment on column postmeter.allocation.meter_metric_id is 'The meter and metric it is counted on.';
comment on column postmeter.allocation.round is
    'Which of the remittance''s cuts counts it, from 0; -1: none. A correction of what a cut has counted lowers '
    'the meter at once.';
comment on column postmeter.allocation.quantity is 'Its quantity in units of the metric.';
comment on column postmeter.allocation.hour is 'Its own hour; another than the remittance''s for late usage.';
comment on column postmeter.allocation.subscription_id is 'The subscription that matched.';
-- An allocation says where its usage is counted now. A recount moves it; where it was before, recounted says.
create trigger append_only before delete or update or truncate on postmeter.allocation
    for each statement
    when (current_setting('postmeter.ends_allocations', true) is distinct from 'on')
    execute function postmeter.forbid_change();

create table postmeter.allocation_default partition of postmeter.allocation default;
comment on table postmeter.allocation_default is 'Allocations for which no partition was made in time.';
create trigger append_only before delete or update or truncate on postmeter.allocation_default
    for each statement execute function postmeter.forbid_change();

create table postmeter.cut (
    delivery_id   bigint      not null,
    meter_id      bigint      not null,
    round         integer     not null,
    denominator   numeric     not null,
    units         numeric     not null,
    billed_before numeric     not null,
    to_bill       numeric     not null,
    carried       numeric     not null,
    deferred      boolean     not null,
    metrics       jsonb       not null,
    cut_at        timestamptz not null default postmeter.clock(),
    primary key (delivery_id, meter_id, round)
);
create index cut_by_meter on postmeter.cut (meter_id);
comment on table postmeter.cut is 'The arithmetic of every cut, per meter counted in it, as it was. Append-only.';
comment on column postmeter.cut.delivery_id is 'The remittance.';
comment on column postmeter.cut.meter_id is 'The meter: its own, or an earlier month''s for a part.';
comment on column postmeter.cut.round is
    'Of the remittance''s cuts, from 0; below zero: no cut. What was written off less what corrections had taken '
    'from it, or what they hold less what was cut.';
comment on column postmeter.cut.denominator is 'Common denominator D of the meter''s factors.';
comment on column postmeter.cut.units is 'Sum over the metrics of (used - covered) x factor x D, after this cut.';
comment on column postmeter.cut.billed_before is 'Billing units billed on this meter before.';
comment on column postmeter.cut.to_bill is
    'Billing units that this cut adds: max(0, R(units / D) - billed before). In rounds below zero: corrected '
    'before it was written off, or held otherwise than it was cut.';
comment on column postmeter.cut.carried is 'units - (billed before + to bill) x D: a remainder, or credit if negative.';
comment on column postmeter.cut.deferred is
    'The hour could no longer be sent in time: everything is carried to another hour of the month.';
comment on column postmeter.cut.metrics is 'Per metric: used before, used here, cover, covered, factor.';
comment on column postmeter.cut.cut_at is 'When.';
create trigger append_only before delete or update or truncate on postmeter.cut
    for each statement
    when (current_setting('postmeter.drops_remittances', true) is distinct from 'on')
    execute function postmeter.forbid_change();

create table postmeter.open_hour (
    delivery_id    bigint      primary key,
    destination_id integer     not null,
    hour           timestamptz not null
);
create index open_hour_by_hour on postmeter.open_hour (hour, delivery_id);
comment on table postmeter.open_hour is
    'Remittances that are open, for the cut to find. Inserted and deleted, never updated.';
comment on column postmeter.open_hour.delivery_id is 'The remittance.';
comment on column postmeter.open_hour.destination_id is 'Its destination.';
comment on column postmeter.open_hour.hour is 'Its hour.';

create table postmeter.closed_month (
    destination_id integer     not null,
    month          date        not null check (extract(day from month) = 1),
    closed_at      timestamptz not null default postmeter.clock(),
    decision_id    bigint      not null,
    primary key (destination_id, month)
);
comment on table postmeter.closed_month is
    'Months that a person closed at a destination: their usage is held from then on, and nothing is carried into '
    'their hours.';
comment on column postmeter.closed_month.destination_id is 'The destination.';
comment on column postmeter.closed_month.month is 'First day of the billing month.';
comment on column postmeter.closed_month.closed_at is 'When.';
comment on column postmeter.closed_month.decision_id is 'The decision that closed it.';

create table postmeter.part (
    delivery_id bigint not null,
    meter_id    bigint not null,
    primary key (delivery_id, meter_id)
);
create index part_by_meter on postmeter.part (meter_id);
comment on table postmeter.part is
    'Other meters that a remittance also counts: of an earlier month, whose late or released quantity is a part of '
    'its own, or of the contract, where its month began under another buyer.';
comment on column postmeter.part.delivery_id is 'The remittance.';
comment on column postmeter.part.meter_id is 'The meter of an earlier month or of the contract.';

create table postmeter.stuck (
    delivery_id    bigint      primary key,
    destination_id integer     not null,
    status         text        not null check (status in ('rejected', 'expired', 'conflict', 'unknown', 'held')),
    since          timestamptz not null,
    again_at       timestamptz
);
create index stuck_again on postmeter.stuck (again_at) where again_at is not null;
comment on table postmeter.stuck is
    'Deliveries that neither wait for their time nor are settled: the dead letters among deliveries. Kept by a '
    'trigger of delivery, whose status has no index, so that its updates stay in their page.';
comment on column postmeter.stuck.delivery_id is 'The delivery.';
comment on column postmeter.stuck.destination_id is 'Its destination.';
comment on column postmeter.stuck.status is 'Its status.';
comment on column postmeter.stuck.since is 'Since when.';
comment on column postmeter.stuck.again_at is
    'When maintenance considers it by itself: a buyer who was not entitled is asked for again, and what expired is '
    'rolled forward where the destination says so. Null: it waits for a person.';

create table postmeter.contract_member (
    subscription_id bigint           not null,
    month           date             not null check (extract(day from month) = 1),
    contract        text collate "C" not null check (contract <> ''),
    decided_at      timestamptz      not null default postmeter.clock(),
    primary key (subscription_id, month)
);
create index contract_member_by_contract on postmeter.contract_member (contract, month);
comment on table postmeter.contract_member is
    'To which contract a subscription belongs in a month; without a row it is the one that it names '
    '(subscription.contract), else that of its buyer. Written once, by the catalogue''s trigger, when a '
    'subscription begins within a month, or its identity or its contract''s name changes in place: what was '
    'counted stays where it is.';
comment on column postmeter.contract_member.subscription_id is 'The subscription.';
comment on column postmeter.contract_member.month is 'First day of the billing month, in the destination''s zone.';
comment on column postmeter.contract_member.contract is
    'The contract: by the buyer under which its month began, or by its name (contract:PRODUCT/NAME); with a number '
    '(contract:PRODUCT/#NUMBER) where that buyer''s contract belongs to somebody who was entered under it by '
    'mistake.';
comment on column postmeter.contract_member.decided_at is 'When.';
create trigger contract_marks after insert or delete on postmeter.contract_member
    for each row execute function postmeter.mark_buyer_of_contract();

create table postmeter.recounted (
    decision_id            bigint  not null,
    delivery_id            bigint  not null,
    meter_metric_id        bigint  not null,
    subscription_id        bigint  not null,
    target_delivery_id     bigint,
    target_meter_metric_id bigint,
    exemption_id           bigint,
    is_late                boolean not null,
    usages                 bigint  not null,
    quantity               numeric not null,
    constraint recounted_target
        check ((num_nonnulls(target_delivery_id, exemption_id) = 1)
            and ((target_delivery_id is null) = (target_meter_metric_id is null)))
);
create index recounted_by_delivery on postmeter.recounted (delivery_id);
create index recounted_by_target on postmeter.recounted (target_delivery_id);
comment on table postmeter.recounted is
    'Usage that recounts moved: how much of it, and from which remittance to which. Append-only.';
comment on column postmeter.recounted.decision_id is 'The decision.';
comment on column postmeter.recounted.delivery_id is 'The remittance that counted it.';
comment on column postmeter.recounted.meter_metric_id is 'The meter and metric on which it was counted.';
comment on column postmeter.recounted.subscription_id is 'The subscription by which it was counted.';
comment on column postmeter.recounted.target_delivery_id is
    'The remittance that counts it now; null: it is exempt by now.';
comment on column postmeter.recounted.target_meter_metric_id is 'The meter and metric on which it counts now.';
comment on column postmeter.recounted.exemption_id is 'The exemption, if it is exempt by now.';
comment on column postmeter.recounted.is_late is 'It counts as late usage: its own hour was in the way of something.';
comment on column postmeter.recounted.usages is 'How many usages.';
comment on column postmeter.recounted.quantity is 'Their quantity in units of the metric.';
create trigger append_only before delete or update or truncate on postmeter.recounted
    for each statement execute function postmeter.forbid_change();

create table postmeter.asked_usage (
    usage_id uuid        primary key,
    asked_at timestamptz not null default postmeter.clock()
);
comment on table postmeter.asked_usage is
    'Usage that was held for lost_time and that a person has sent back: it was not billed with another hour in the '
    'time that was lost, and goes on as late usage.';
comment on column postmeter.asked_usage.usage_id is 'The usage.';
comment on column postmeter.asked_usage.asked_at is
    'When, on postmeter.clock(): what is lost after that is asked about again.';

create table postmeter.withheld (
    delivery_id bigint primary key,
    meter_id    bigint not null,
    break_id    bigint not null
);
create index withheld_by_meter on postmeter.withheld (meter_id);
comment on table postmeter.withheld is
    'Held remittances that stand for no hour: what a meter still had to bill when commits were lost (released or '
    'deferred quantity, a remainder whose own hour was sent). It may have been billed with another hour in that '
    'time, so it waits until a person says so or not.';
comment on column postmeter.withheld.delivery_id is 'The remittance.';
comment on column postmeter.withheld.meter_id is 'The meter that had it to bill.';
comment on column postmeter.withheld.break_id is 'The break.';

create table postmeter.unconfirmed (
    delivery_id bigint      primary key,
    noted_at    timestamptz not null default postmeter.clock()
);
comment on table postmeter.unconfirmed is
    'Accepted remittances of hours that were over when commits were lost, which they called a duplicate without '
    'saying how much they hold: it may be another quantity, sent in that time. Status and balance stand; a report '
    '(resolve --file), a person or a day''s sum that agrees ends it.';
comment on column postmeter.unconfirmed.delivery_id is 'The remittance.';
comment on column postmeter.unconfirmed.noted_at is 'When, on postmeter.clock().';
