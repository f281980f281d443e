-- 0020_pre_views: what every org's remittances came to, and what each column of each view means.
-- programs: from 0020
-- lock: access exclusive on unremitted, for a moment: a view is written anew

create view postmeter.remittance_summary as
with part as (
    -- usage of an org in a remittance; the month's bounds let the index on (subscription, hour) find it
    select s.org, s.account, mm.product, mm.metric, mm.meter_id, c.month, a.delivery_id, count(*) as usages, sum(a.quantity) as used
    from postmeter.subscription s
    cross join (select m.month from postmeter.meter m group by m.month) c
    join postmeter.allocation a on a.subscription_id = s.id
     and a.hour >= c.month::timestamp at time zone 'UTC' - interval '1 day'
     and a.hour < (c.month + interval '1 month')::timestamp at time zone 'UTC' + interval '1 day'
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    join postmeter.meter m on m.id = mm.meter_id and m.month = c.month
    group by s.org, s.account, mm.product, mm.metric, mm.meter_id, c.month, a.delivery_id
    union all
    -- and what was dropped with its month of the ledger
    select k.org, s.account, k.product, k.metric, mm.meter_id, c.month, k.delivery_id, sum(k.usages)::bigint as usages, sum(k.quantity) as used
    from (select m.month from postmeter.meter m group by m.month) c
    join postmeter.ledger_carry k on k.hour >= c.month::timestamp at time zone 'UTC' - interval '1 day'
     and k.hour < (c.month + interval '1 month')::timestamp at time zone 'UTC' + interval '1 day'
    join postmeter.meter_metric mm on mm.id = k.meter_metric_id
    join postmeter.meter m on m.id = mm.meter_id and m.month = c.month
    left join postmeter.subscription s on s.id = k.subscription_id
    group by k.org, s.account, k.product, k.metric, mm.meter_id, c.month, k.delivery_id
), counted as (
    select p.org, p.account, p.product, p.metric, p.meter_id, p.month, p.delivery_id, sum(p.usages)::bigint as usages, sum(p.used) as used
    from part p
    group by p.org, p.account, p.product, p.metric, p.meter_id, p.month, p.delivery_id
    union all
    -- quantity that came from other hours alone (released, deferred): whose it is, the subscriptions of its buyer say
    select s.org, s.account, s.product, null::text as metric, m.id, m.month, k.delivery_id, 0 as usages, 0 as used
    from postmeter.subscription s
    join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = s.buyer
    join postmeter.cut k on k.meter_id = m.id and k.to_bill > 0
    join postmeter.delivery d on d.id = k.delivery_id and d.product = s.product
     and s.valid_from <= d.hour and (s.valid_until is null or d.hour < s.valid_until)
    where not exists (select from postmeter.allocation a join postmeter.meter_metric mm on mm.id = a.meter_metric_id
                      where a.delivery_id = k.delivery_id and mm.meter_id = k.meter_id)
      and not exists (select from postmeter.ledger_carry a join postmeter.meter_metric mm on mm.id = a.meter_metric_id
                      where a.delivery_id = k.delivery_id and mm.meter_id = k.meter_id)
    group by s.org, s.account, s.product, m.id, m.month, k.delivery_id
), whole as (
    select c.org, c.account, c.product, c.metric, c.month, c.usages, c.used, d.destination_id, d.status, d.shadow, m.dimension, b.billed,
           -- billing units are rounded once for all who are in them, and belong to nobody's share
           case when c.usages > 0
                then exists (select from postmeter.allocation o
                             join postmeter.subscription os on os.id = o.subscription_id
                             join postmeter.meter_metric om on om.id = o.meter_metric_id
                             where o.delivery_id = c.delivery_id and om.meter_id = c.meter_id
                               and (os.org is distinct from c.org or os.account is distinct from c.account
                                    or om.product is distinct from c.product or om.metric is distinct from c.metric))
                  or exists (select from postmeter.ledger_carry o
                             join postmeter.meter_metric om on om.id = o.meter_metric_id
                             left join postmeter.subscription os on os.id = o.subscription_id
                             where o.delivery_id = c.delivery_id and om.meter_id = c.meter_id
                               and (o.org is distinct from c.org or os.account is distinct from c.account
                                    or o.product is distinct from c.product or o.metric is distinct from c.metric))
                else exists (select from postmeter.subscription os
                             where os.destination_id = d.destination_id and os.buyer = m.buyer and os.product = d.product
                               and os.valid_from <= d.hour and (os.valid_until is null or d.hour < os.valid_until)
                               and (os.org, os.account) is distinct from (c.org, c.account)) end as shared
    from counted c
    join postmeter.delivery d on d.id = c.delivery_id
    join postmeter.meter m on m.id = c.meter_id
    left join lateral (
        select sum(k.to_bill) as billed from postmeter.cut k
        where k.delivery_id = c.delivery_id and k.meter_id = c.meter_id and d.status <> 'open'
    ) b on true
)
select w.org, w.account, w.product, w.metric, t.name as destination, w.month, w.status, w.shared, w.dimension,
       count(*) as remittances, sum(w.usages)::bigint as usages, trim_scale(sum(w.used)) as used, trim_scale(sum(w.billed)) as quantity,
       trim_scale(sum(w.billed) * p.unit_price) as amount, p.currency, w.shadow
from whole w
join postmeter.destination t on t.id = w.destination_id
left join lateral (
    select x.unit_price, x.currency from postmeter.dimension x
    where x.destination_id = w.destination_id and x.name = w.dimension and x.product = w.product and x.valid_from <= w.month
    order by x.valid_from desc, x.id limit 1
) p on true
group by w.org, w.account, w.product, w.metric, t.name, w.month, w.status, w.shared, w.dimension, w.shadow, p.unit_price, p.currency;
comment on view postmeter.remittance_summary is
    'What the remittances of an org came to: per org, account, product, metric, destination, month and status, how many there are, the usage in them (units of the metric) and what they bill (billing units, and at the price of the dimension; one currency a row, null: unpriced). Where others are in the same remittances (shared), the billing units are those of the whole remittance: rounded once for all, they are nobody''s share, so shared rows are not to be added up over orgs, accounts or metrics; used always is. What was released is billed with another remittance, whose row has it too: rows of status released are not to be added to the others. Quick by org and month.';

-- as before, with what was dropped, and with what came from other hours beside a remittance's own usage
create or replace view postmeter.unremitted as
select 'usage' as kind, h.org, h.product, h.metric, h.hour, h.quantity, 'metric' as unit, 'held' as status, h.reason, h.deadline,
       h.held_at as since, t.name as destination, null::bigint as delivery_id, h.usage_id, h.usage_id::text as item
from postmeter.held h left join postmeter.destination t on t.id = h.destination_id
union all
select 'usage' as kind, o.org, o.product, o.metric, postmeter.hour_of(o.used_at) as hour, o.quantity, 'metric' as unit, 'waiting' as status,
       null::text as reason, null::timestamptz as deadline, null::timestamptz as since, null::text as destination, null::bigint as delivery_id,
       o.id as usage_id, o.id::text as item
from postmeter.outbox o
union all
select 'remittance' as kind, a.org, a.product, a.metric, a.hour, sum(a.quantity) as quantity, 'metric' as unit, d.status, d.reason, d.deadline,
       d.changed_at as since, t.name as destination, d.id as delivery_id, null::uuid as usage_id,
       jsonb_build_array(d.id, a.org, a.product, a.metric, a.hour)::text as item
from (select s.org, mm.product, mm.metric, x.hour, x.delivery_id, x.quantity
      from postmeter.allocation x
      join postmeter.subscription s on s.id = x.subscription_id
      join postmeter.meter_metric mm on mm.id = x.meter_metric_id
      union all
      select k.org, k.product, k.metric, k.hour, k.delivery_id, k.quantity from postmeter.ledger_carry k where k.hour is not null) a
join postmeter.delivery d on d.id = a.delivery_id
join postmeter.destination t on t.id = d.destination_id
where d.status not in ('accepted', 'nothing_due', 'released') and not d.shadow
group by a.org, a.product, a.metric, a.hour, d.id, t.name
union all
-- quantity that came from other hours has no usage here to be counted by: all of it, or what releases gave beside its own
select 'remittance' as kind, s.org, d.product, null::text as metric, d.hour, g.quantity, 'billing' as unit, d.status, d.reason, d.deadline,
       d.changed_at as since, t.name as destination, d.id as delivery_id, null::uuid as usage_id,
       jsonb_build_array(d.id, s.org, d.product, null, d.hour)::text as item
from postmeter.delivery d
join postmeter.destination t on t.id = d.destination_id
join postmeter.meter m on m.id = d.meter_id
cross join lateral (
    select case when exists (select from postmeter.allocation a where a.delivery_id = d.id)
                  or exists (select from postmeter.ledger_carry k where k.delivery_id = d.id) or d.status = 'open'
                then (select sum(c.quantity) from postmeter.decision c where c.target_delivery_id = d.id and c.verb = 'release')
                else d.quantity end as quantity
) g
left join postmeter.subscription s on s.destination_id = m.destination_id and s.buyer = m.buyer and s.product = d.product
 and s.valid_from <= d.hour and (s.valid_until is null or d.hour < s.valid_until)
where d.status not in ('accepted', 'nothing_due', 'released') and not d.shadow and g.quantity > 0
group by s.org, g.quantity, d.id, t.name;
comment on view postmeter.unremitted is 'What was not sent or not accepted, and why: waiting and held usage, and remittances in every status but accepted, nothing_due and released (its quantity is with another remittance), by the hour of their usage. What a remittance was given by releases, and one that counts no usage of its own, is listed in billing units. What an hour deferred is listed once an hour is opened for it: with that remittance, if it counts no usage of its own. Without shadows. Quick by org with a range of hour, and by delivery_id.';

grant select on postmeter.remittance_summary to postmeter_reader, postmeter_operator, postmeter_worker;

comment on column postmeter.remittance.delivery_id is 'Its number; what the other views refer to.';
comment on column postmeter.remittance.destination is 'Name of the destination.';
comment on column postmeter.remittance.key is 'Canonical key.';
comment on column postmeter.remittance.hour is 'The hour it reports.';
comment on column postmeter.remittance.product is 'Our product.';
comment on column postmeter.remittance.dimension is 'The marketplace''s dimension.';
comment on column postmeter.remittance.month is 'First day of the billing month.';
comment on column postmeter.remittance.buyer is 'The buyer in canonical text.';
comment on column postmeter.remittance.status is 'Where it stands.';
comment on column postmeter.remittance.reason is 'Why it is held.';
comment on column postmeter.remittance.maybe_billed is 'An attempt may have arrived and nothing has resolved it.';
comment on column postmeter.remittance.confirmed is 'Accepted: whether they confirmed the quantity; a bare duplicate does not.';
comment on column postmeter.remittance.quantity is 'Billing units, frozen by the cut; null while open.';
comment on column postmeter.remittance.shown_quantity is 'What they showed that they hold.';
comment on column postmeter.remittance.amount is 'Quantity times unit price; null: unpriced.';
comment on column postmeter.remittance.currency is 'Of the price.';
comment on column postmeter.remittance.deadline is 'Last moment at which it may be sent, margin taken off.';
comment on column postmeter.remittance.tries is 'Attempts that count against the policy.';
comment on column postmeter.remittance.attempts is 'All attempts.';
comment on column postmeter.remittance.idempotency_key is 'UUIDv5 of destination, key and releases.';
comment on column postmeter.remittance.opened_at is 'When its hour was opened, or opened again.';
comment on column postmeter.remittance.cut_at is 'When it was cut last.';
comment on column postmeter.remittance.changed_at is 'When its status last changed.';
comment on column postmeter.remittance.shadow is 'Its destination is a shadow: owed to nobody.';
comment on column postmeter.remittance.orgs is 'The orgs whose usage is in it: several, where they buy through one account.';

comment on column postmeter.remittance_summary.org is 'The org.';
comment on column postmeter.remittance_summary.account is 'Which marketplace account, where the org has several.';
comment on column postmeter.remittance_summary.product is 'Our product.';
comment on column postmeter.remittance_summary.metric is 'Our metric; null: quantity that came from other hours alone.';
comment on column postmeter.remittance_summary.destination is 'Name of the destination.';
comment on column postmeter.remittance_summary.month is 'First day of the billing month of the usage.';
comment on column postmeter.remittance_summary.status is 'Where these remittances stand.';
comment on column postmeter.remittance_summary.shared is 'Other orgs, accounts or metrics are in the same remittances.';
comment on column postmeter.remittance_summary.dimension is 'The marketplace''s dimension.';
comment on column postmeter.remittance_summary.remittances is 'How many.';
comment on column postmeter.remittance_summary.usages is 'Usages of this org and metric in them.';
comment on column postmeter.remittance_summary.used is 'Their quantity, in units of the metric.';
comment on column postmeter.remittance_summary.quantity is 'Billing units for this month; null: not cut yet. Of status released: what another remittance has now.';
comment on column postmeter.remittance_summary.amount is 'Quantity times unit price; null: unpriced.';
comment on column postmeter.remittance_summary.currency is 'Of the price; one a row.';
comment on column postmeter.remittance_summary.shadow is 'Of a shadow: nothing of it was billed.';

comment on column postmeter.attempt_ledger.attempt_id is 'UUIDv7, ordered by time.';
comment on column postmeter.attempt_ledger.delivery_id is 'What was sent.';
comment on column postmeter.attempt_ledger.key is 'Its key.';
comment on column postmeter.attempt_ledger.destination is 'Where.';
comment on column postmeter.attempt_ledger.number is 'Which attempt of this delivery, from 1.';
comment on column postmeter.attempt_ledger.call_id is 'Attempts of one call share it.';
comment on column postmeter.attempt_ledger.claimed_at is 'When the intent was written.';
comment on column postmeter.attempt_ledger.worker_id is 'By whom.';
comment on column postmeter.attempt_ledger.outcome is 'What was told; open: a call may be under way, or its worker died.';
comment on column postmeter.attempt_ledger.code is 'The marketplace''s or the transport''s stable word.';
comment on column postmeter.attempt_ledger.is_try is 'It counts against the policy.';
comment on column postmeter.attempt_ledger.shown_quantity is 'The quantity they showed.';
comment on column postmeter.attempt_ledger.receipt is 'Their receipt (AWS: MeteringRecordId).';
comment on column postmeter.attempt_ledger.http_status is 'HTTP status.';
comment on column postmeter.attempt_ledger.their_request_id is 'Their id of the call, to quote to their support.';
comment on column postmeter.attempt_ledger.excerpt is 'What they said, bounded, without secrets.';
comment on column postmeter.attempt_ledger.duration is 'How long the call took.';
comment on column postmeter.attempt_ledger.recorded_at is 'When the outcome was written.';
comment on column postmeter.attempt_ledger.quantity is 'What the delivery sends.';
comment on column postmeter.attempt_ledger.status is 'Where the delivery stands now.';
comment on column postmeter.attempt_ledger.shadow is 'Of a shadow: no call was made.';

comment on column postmeter.usage_explained.usage_id is 'The usage.';
comment on column postmeter.usage_explained.source is 'The service that recorded it; with event_id its identity.';
comment on column postmeter.usage_explained.event_id is 'That service''s own id of it.';
comment on column postmeter.usage_explained.org is 'The org.';
comment on column postmeter.usage_explained.account is 'Which marketplace account, where the org has several.';
comment on column postmeter.usage_explained.product is 'Our product, by stable tag.';
comment on column postmeter.usage_explained.metric is 'Our metric, by stable tag.';
comment on column postmeter.usage_explained.quantity is 'How much, in units of the metric.';
comment on column postmeter.usage_explained.used_at is 'When it was used.';
comment on column postmeter.usage_explained.corrects is 'Event id of the usage that it corrects.';
comment on column postmeter.usage_explained.request_id is 'The request that caused it.';
comment on column postmeter.usage_explained.recorded_at is 'When.';
comment on column postmeter.usage_explained.whereabouts is 'waiting, held, exempt, written_off or allocated.';
comment on column postmeter.usage_explained.reason is 'Why it is held or exempt.';
comment on column postmeter.usage_explained.destination is 'Where it is reported.';
comment on column postmeter.usage_explained.delivery_id is 'The remittance.';
comment on column postmeter.usage_explained.key is 'Key of that remittance.';
comment on column postmeter.usage_explained.remitted_hour is 'The hour of that remittance: another than its own for late usage.';
comment on column postmeter.usage_explained.status is 'Where that remittance stands.';
comment on column postmeter.usage_explained.round is 'Which cut of that hour counted it.';
comment on column postmeter.usage_explained.hour is 'Its own hour, UTC: filter on this one, not on used_at.';

comment on column postmeter.unremitted.kind is 'usage (waiting or held) or remittance.';
comment on column postmeter.unremitted.org is 'Whose; null: no subscription says.';
comment on column postmeter.unremitted.product is 'Our product.';
comment on column postmeter.unremitted.metric is 'Our metric; null where the unit is billing.';
comment on column postmeter.unremitted.hour is 'The hour of the usage.';
comment on column postmeter.unremitted.quantity is 'How much.';
comment on column postmeter.unremitted.unit is 'metric: units of the metric; billing: billing units that came from other hours: what releases gave to a remittance, or all of one that counts no usage of its own.';
comment on column postmeter.unremitted.status is 'waiting, held, or the remittance''s status.';
comment on column postmeter.unremitted.reason is 'Why it is held.';
comment on column postmeter.unremitted.deadline is 'Until when it can be sent.';
comment on column postmeter.unremitted.since is 'Since when it is so.';
comment on column postmeter.unremitted.destination is 'Where it would go, if that is known.';
comment on column postmeter.unremitted.delivery_id is 'Which remittance.';
comment on column postmeter.unremitted.usage_id is 'Which usage.';
comment on column postmeter.unremitted.item is 'The same as one text, unique in this view.';

comment on column postmeter.dead_letter.delivery_id is 'The remittance; null: it is none.';
comment on column postmeter.dead_letter.usage_id is 'The held usage; null: it is none.';
comment on column postmeter.dead_letter.destination is 'Where it goes, if that is known.';
comment on column postmeter.dead_letter.class is 'rejected, expired, conflict, unknown, held, held usage or stranded.';
comment on column postmeter.dead_letter.code is 'The reason, or the code of the last answer.';
comment on column postmeter.dead_letter.org is 'Org of held usage; else see orgs.';
comment on column postmeter.dead_letter.product is 'Our product, by stable tag.';
comment on column postmeter.dead_letter.metric is 'Metric of held usage.';
comment on column postmeter.dead_letter.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.dead_letter.hour is 'The hour, UTC.';
comment on column postmeter.dead_letter.key is 'Canonical key of the remittance.';
comment on column postmeter.dead_letter.quantity is 'Billing units; of held usage, units of its metric.';
comment on column postmeter.dead_letter.amount is 'Billing units times unit price; null: unpriced, never zero.';
comment on column postmeter.dead_letter.currency is 'Currency of the amount; null: unpriced.';
comment on column postmeter.dead_letter.since is 'Since when it is stuck.';
comment on column postmeter.dead_letter.deadline is 'Until when its hour can be sent.';
comment on column postmeter.dead_letter.maybe_billed is 'An attempt may have arrived: look there first.';
comment on column postmeter.dead_letter.what_to_do is 'In words.';
comment on column postmeter.dead_letter.orgs is 'Of a remittance all orgs in it, of held usage its own.';
comment on column postmeter.dead_letter.item is 'Which one, as one text that is unique in this view.';

comment on column postmeter.forecast.destination is 'Its name.';
comment on column postmeter.forecast.waiting is 'Remittances that are cut and not sent.';
comment on column postmeter.forecast.all_sent_by is 'When the last is sent; null: it is paused.';
comment on column postmeter.forecast.misses is 'Those sent after their deadline by then.';
comment on column postmeter.forecast.quantity_missing is 'Their billing units, over all dimensions: a measure of size.';
comment on column postmeter.forecast.first_missed_deadline is 'The first of their deadlines.';

comment on column postmeter.forecast_detail.delivery_id is 'The remittance.';
comment on column postmeter.forecast_detail.destination is 'Name of the destination.';
comment on column postmeter.forecast_detail.deadline is 'Last moment at which it may be sent, margin taken off.';
comment on column postmeter.forecast_detail.place is 'By deadline, among all that share its quota.';
comment on column postmeter.forecast_detail.sent_by is 'When its turn comes; null: paused.';
comment on column postmeter.forecast_detail.misses is 'That is after its deadline, or never.';

comment on column postmeter.reconciled.destination is 'Who was asked.';
comment on column postmeter.reconciled.day is 'The day that was asked about, UTC.';
comment on column postmeter.reconciled.buyer is 'The buyer in canonical text.';
comment on column postmeter.reconciled.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.reconciled.ours is 'Billing units of that day that we hold as accepted; where they showed their own quantity, that.';
comment on column postmeter.reconciled.our_records is 'Remittances in ours.';
comment on column postmeter.reconciled.theirs is 'Billing units that they hold, without what they rejected.';
comment on column postmeter.reconciled.their_records is 'Records in theirs.';
comment on column postmeter.reconciled.states is 'Their words for how far they are with it.';
comment on column postmeter.reconciled.difference is 'Theirs less ours.';
comment on column postmeter.reconciled.verdict is 'equal, quantity, ours_alone (they lost it) or theirs_alone (an unknown was taken, or somebody else sent it).';
comment on column postmeter.reconciled.asked_at is 'When.';

comment on column postmeter.at_risk.delivery_id is 'The remittance.';
comment on column postmeter.at_risk.destination is 'Name of the destination.';
comment on column postmeter.at_risk.key is 'Canonical key of the remittance.';
comment on column postmeter.at_risk.hour is 'The hour, UTC.';
comment on column postmeter.at_risk.status is 'Where it stands: docs/states.md.';
comment on column postmeter.at_risk.reason is 'Why it is held: a stable code.';
comment on column postmeter.at_risk.quantity is 'Billing units, frozen by the cut; null while open.';
comment on column postmeter.at_risk.amount is 'Billing units times unit price; null: unpriced, never zero.';
comment on column postmeter.at_risk.currency is 'Currency of the amount; null: unpriced.';
comment on column postmeter.at_risk.tries is 'Attempts that count against the retry policy.';
comment on column postmeter.at_risk.deadline is 'Last moment at which it may be sent, margin taken off.';
comment on column postmeter.at_risk.time_left is 'Until then; below zero: passed.';
comment on column postmeter.at_risk.orgs is 'The orgs whose usage is in it.';

comment on column postmeter.queue.destination is 'Name of the destination.';
comment on column postmeter.queue.paused is 'A person stopped sending.';
comment on column postmeter.queue.dry_run is 'Everything is done but the call.';
comment on column postmeter.queue.due is 'Deliveries to send now.';
comment on column postmeter.queue.later is 'Deliveries waiting for another try.';
comment on column postmeter.queue.open is 'Hours that still collect.';
comment on column postmeter.queue.earliest_deadline is 'Of what is due.';
comment on column postmeter.queue.next_at is 'When the next of the waiting is due.';
comment on column postmeter.queue.shadow is 'It counts beside a live destination, and never calls.';

comment on column postmeter.destination_health.destination is 'Which.';
comment on column postmeter.destination_health.paused is 'A person stopped sending; independent of the breaker.';
comment on column postmeter.destination_health.breaker is 'closed (healthy), open (no call), half_open (one call probes), recovering (few calls, then more).';
comment on column postmeter.destination_health.since is 'When it opened; null: closed.';
comment on column postmeter.destination_health.next_probe_at is 'No call before this.';
comment on column postmeter.destination_health.probing is 'Name of the worker that probes now.';
comment on column postmeter.destination_health.ramp is 'While it recovers: calls that each worker may have in flight, so the fleet as many times that as it has workers.';
comment on column postmeter.destination_health.faults is 'How often it opened in a row, failed probes included.';
comment on column postmeter.destination_health.last_outcome is 'Outcome of the last call that met the fault.';
comment on column postmeter.destination_health.last_code is 'Its code.';
comment on column postmeter.destination_health.last_http_status is 'Its HTTP status.';
comment on column postmeter.destination_health.changed_at is 'When a worker last wrote any of this.';
comment on column postmeter.destination_health.due is 'Deliveries to send now.';
comment on column postmeter.destination_health.later is 'Deliveries that wait for another try.';
comment on column postmeter.destination_health.open is 'Hours that still collect usage.';
comment on column postmeter.destination_health.earliest_deadline is 'Earliest deadline of what is due.';
comment on column postmeter.destination_health.shadow is 'It belongs to a shadow: counted beside a live destination, never sent.';
comment on column postmeter.destination_health.kind is 'Which marketplace''s code serves it.';
comment on column postmeter.destination_health.zone is 'Zone whose calendar its billing month follows.';
comment on column postmeter.destination_health.dry_run is 'Everything is done but the call.';

comment on column postmeter.decision_log.id is 'Number.';
comment on column postmeter.decision_log.decided_at is 'When.';
comment on column postmeter.decision_log.who is 'The person, or the name of a token.';
comment on column postmeter.decision_log.why is 'The reason, in a sentence.';
comment on column postmeter.decision_log.verb is 'Retry, release, write_off, hold, resolve, pause, resume, close, reopen, apply (a catalogue over HTTP).';
comment on column postmeter.decision_log.role_name is 'Database role that carried it out.';
comment on column postmeter.decision_log.delivery_id is 'The remittance.';
comment on column postmeter.decision_log.key is 'Canonical key of the remittance.';
comment on column postmeter.decision_log.usage_id is 'The usage.';
comment on column postmeter.decision_log.destination is 'Name of the destination.';
comment on column postmeter.decision_log.status_before is 'Status before.';
comment on column postmeter.decision_log.status_after is 'Status after.';
comment on column postmeter.decision_log.quantity is 'Billing units concerned; of held usage, units of its metric.';
comment on column postmeter.decision_log.target_delivery_id is 'Where released quantity went.';
comment on column postmeter.decision_log.detail is 'The filter, and whatever else explains it.';

comment on column postmeter.meter_list.meter_id is 'Its number.';
comment on column postmeter.meter_list.destination is 'Name of the destination.';
comment on column postmeter.meter_list.buyer is 'The buyer in canonical text.';
comment on column postmeter.meter_list.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.meter_list.month is 'First day of the billing month.';
comment on column postmeter.meter_list.rounding is 'How its billing units are rounded: up, down or nearest.';
comment on column postmeter.meter_list.decimals is 'Decimals of its billing units.';
comment on column postmeter.meter_list.month_end is 'What the month''s last cut does with a remainder.';
comment on column postmeter.meter_list.billed is 'Billing units of all its cut remittances that no decision has released.';
comment on column postmeter.meter_list.carried is 'Billing units × denominator: not billed yet, or (below zero) billed ahead.';
comment on column postmeter.meter_list.billable is 'Billing units that a cut would bill now.';
comment on column postmeter.meter_list.denominator is 'Common denominator of its factors.';
comment on column postmeter.meter_list.cuts is 'How often it was cut.';
comment on column postmeter.meter_list.closed_at is 'When a person closed its month.';

comment on column postmeter.held_list.usage_id is 'The held usage.';
comment on column postmeter.held_list.source is 'The service that recorded it; with event_id its identity.';
comment on column postmeter.held_list.event_id is 'That service''s own id of it.';
comment on column postmeter.held_list.destination is 'Where it would go, if that is known.';
comment on column postmeter.held_list.reason is 'Why it is held.';
comment on column postmeter.held_list.org is 'The org.';
comment on column postmeter.held_list.account is 'Which marketplace account, where the org has several.';
comment on column postmeter.held_list.product is 'Our product, by stable tag.';
comment on column postmeter.held_list.metric is 'Our metric, by stable tag.';
comment on column postmeter.held_list.quantity is 'How much, in units of the metric.';
comment on column postmeter.held_list.used_at is 'When it was used.';
comment on column postmeter.held_list.hour is 'The hour it belongs to.';
comment on column postmeter.held_list.deadline is 'Until when that can be sent, if that is known.';
comment on column postmeter.held_list.held_at is 'Since when it is held.';

comment on column postmeter.token_list.id is 'Number.';
comment on column postmeter.token_list.name is 'Name of the caller: decisions are signed with it.';
comment on column postmeter.token_list.scopes is 'What it may do: intake, read, operate.';
comment on column postmeter.token_list.org is 'The only org that it records and reads; null: all.';
comment on column postmeter.token_list.created_at is 'When it was made.';
comment on column postmeter.token_list.created_by is 'Who made it.';
comment on column postmeter.token_list.revoked_at is 'When it was revoked; null: it is valid.';
comment on column postmeter.token_list.revoked_by is 'Who revoked it.';

comment on column postmeter.usage_balance.org is 'The org.';
comment on column postmeter.usage_balance.product is 'Our product, by stable tag.';
comment on column postmeter.usage_balance.metric is 'Our metric, by stable tag.';
comment on column postmeter.usage_balance.usages is 'How many were recorded.';
comment on column postmeter.usage_balance.recorded is 'How much.';
comment on column postmeter.usage_balance.waiting is 'Of this, in the outbox.';
comment on column postmeter.usage_balance.held is 'Of this, held with a reason.';
comment on column postmeter.usage_balance.exempt is 'Of this, not billed through a marketplace.';
comment on column postmeter.usage_balance.written_off is 'Of this, given up by a person.';
comment on column postmeter.usage_balance.allocated is 'Of this, counted by remittances of live destinations.';
comment on column postmeter.usage_balance.difference is 'Quantity that is nowhere: zero at every moment.';
comment on column postmeter.usage_balance.difference_usages is 'Usages that are nowhere: zero at every moment.';

comment on column postmeter.balance.destination is 'Name of the destination.';
comment on column postmeter.balance.buyer is 'The buyer in canonical text.';
comment on column postmeter.balance.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.balance.month is 'First day of the billing month.';
comment on column postmeter.balance.meter_id is 'The meter.';
comment on column postmeter.balance.denominator is 'Common denominator of the meter''s factors; divide by it for billing units.';
comment on column postmeter.balance.recorded is 'All usage allocated to it.';
comment on column postmeter.balance.open is 'Of this, in hours that are still open.';
comment on column postmeter.balance.due is 'Cut and to be sent, or in flight.';
comment on column postmeter.balance.unknown is 'Billed by remittances that are unknown.';
comment on column postmeter.balance.accepted is 'Billed by accepted remittances; of a conflict, what they hold.';
comment on column postmeter.balance.held is 'Billed by remittances in that status.';
comment on column postmeter.balance.rejected is 'Billed by remittances in that status.';
comment on column postmeter.balance.expired is 'Billed by remittances in that status.';
comment on column postmeter.balance.conflict is 'Billed by remittances in conflict, less what they hold.';
comment on column postmeter.balance.written_off is 'Billed by remittances in that status.';
comment on column postmeter.balance.dry_run is 'Billed by remittances that ended as dry_run.';
comment on column postmeter.balance.covered is 'Paid for by contracts.';
comment on column postmeter.balance.carried is 'A remainder not billed yet, or (below zero) credit.';
comment on column postmeter.balance.difference is 'Zero at every moment.';
comment on column postmeter.balance.shadow is 'A meter of a shadow: nothing of it was billed.';

comment on column postmeter.unfinished_request.request_id is 'In the form in which it was first recorded.';
comment on column postmeter.unfinished_request.org is 'Org of the request; empty: nobody said.';
comment on column postmeter.unfinished_request.account is 'Account of the request; empty: nobody said.';
comment on column postmeter.unfinished_request.inventory_id is 'Inventory id of the request; empty: nobody said.';
comment on column postmeter.unfinished_request.system_id is 'System id of the request; empty: nobody said.';
comment on column postmeter.unfinished_request.open_services is 'Who has not finished.';
comment on column postmeter.unfinished_request.statuses is 'How many messages there are.';
comment on column postmeter.unfinished_request.created_at is 'Date of the first message.';
comment on column postmeter.unfinished_request.last_date is 'Latest date of its messages.';
comment on column postmeter.unfinished_request.last_recorded_at is 'When the last message was recorded.';
comment on column postmeter.unfinished_request.silent_for is 'How long ago that is.';

comment on column postmeter.month_close.destination is 'Name of the destination; null: not known yet.';
comment on column postmeter.month_close.month is 'First day of the billing month; of UTC where the destination is null.';
comment on column postmeter.month_close.closed is 'A person closed this month.';
comment on column postmeter.month_close.closed_at is 'When a person closed it.';
comment on column postmeter.month_close.class is 'A remittance''s status, or held_usage, waiting, released, remainder, over_billed.';
comment on column postmeter.month_close.reason is 'Why it is held.';
comment on column postmeter.month_close.meter_id is 'The meter.';
comment on column postmeter.month_close.buyer is 'The buyer in canonical text.';
comment on column postmeter.month_close.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.month_close.org is 'The org; null where a remittance counts several.';
comment on column postmeter.month_close.product is 'Our product, by stable tag.';
comment on column postmeter.month_close.metric is 'Our metric; null where a remittance counts several.';
comment on column postmeter.month_close.items is 'How many remittances or usages.';
comment on column postmeter.month_close.quantity is 'How much.';
comment on column postmeter.month_close.unit is 'billing units, or units of the metric.';
comment on column postmeter.month_close.amount is 'Billing units times unit price; null: unpriced, never zero.';
comment on column postmeter.month_close.currency is 'Currency of the amount; null: unpriced.';
comment on column postmeter.month_close.shadow is 'The row is a shadow''s: nothing of it was billed.';

comment on column postmeter.shadow_difference.shadow is 'Name of the shadow.';
comment on column postmeter.shadow_difference.live is 'Name of the live destination.';
comment on column postmeter.shadow_difference.month is 'First day of the billing month.';
comment on column postmeter.shadow_difference.buyer is 'The buyer in canonical text.';
comment on column postmeter.shadow_difference.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.shadow_difference.hour is 'The hour, UTC.';
comment on column postmeter.shadow_difference.live_delivery_id is 'The live remittance; null: there is none.';
comment on column postmeter.shadow_difference.live_status is 'Where it stands.';
comment on column postmeter.shadow_difference.live_quantity is 'Its billing units.';
comment on column postmeter.shadow_difference.live_amount is 'At the live price; null: unpriced.';
comment on column postmeter.shadow_difference.live_currency is 'Currency of the live price.';
comment on column postmeter.shadow_difference.shadow_delivery_id is 'The shadow''s remittance; null: there is none.';
comment on column postmeter.shadow_difference.shadow_status is 'Where it stands.';
comment on column postmeter.shadow_difference.shadow_quantity is 'Its billing units.';
comment on column postmeter.shadow_difference.shadow_amount is 'At the shadow''s price.';
comment on column postmeter.shadow_difference.shadow_currency is 'Currency of the shadow''s price.';
comment on column postmeter.shadow_difference.difference is 'The shadow''s quantity less the live one.';
comment on column postmeter.shadow_difference.verdict is 'equal, quantity, live_alone, shadow_alone, open (one is not cut yet), before_shadow.';

comment on column postmeter.shadow_meter_difference.shadow is 'Name of the shadow.';
comment on column postmeter.shadow_meter_difference.live is 'Name of the live destination.';
comment on column postmeter.shadow_meter_difference.month is 'First day of the billing month.';
comment on column postmeter.shadow_meter_difference.buyer is 'The buyer in canonical text.';
comment on column postmeter.shadow_meter_difference.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.shadow_meter_difference.hours is 'Hours that were compared.';
comment on column postmeter.shadow_meter_difference.hours_differ is 'Of these, hours that are not equal.';
comment on column postmeter.shadow_meter_difference.live_quantity is 'Billing units of the live meter.';
comment on column postmeter.shadow_meter_difference.shadow_quantity is 'Billing units of the shadow''s meter.';
comment on column postmeter.shadow_meter_difference.difference is 'The shadow''s less the live ones.';
comment on column postmeter.shadow_meter_difference.live_before_shadow is 'Live billing units of the hours left out.';
comment on column postmeter.shadow_meter_difference.live_amount is 'At the live price; null: unpriced.';
comment on column postmeter.shadow_meter_difference.live_currency is 'Currency of the live price.';
comment on column postmeter.shadow_meter_difference.shadow_amount is 'At the shadow''s price; null: unpriced.';
comment on column postmeter.shadow_meter_difference.shadow_currency is 'Currency of the shadow''s price.';

comment on column postmeter.shadow_usage_difference.shadow is 'Name of the shadow.';
comment on column postmeter.shadow_usage_difference.live is 'Name of the live destination.';
comment on column postmeter.shadow_usage_difference.month is 'First day of the billing month.';
comment on column postmeter.shadow_usage_difference.org is 'The org.';
comment on column postmeter.shadow_usage_difference.product is 'Our product, by stable tag.';
comment on column postmeter.shadow_usage_difference.metric is 'Our metric, by stable tag.';
comment on column postmeter.shadow_usage_difference.live_usages is 'Usages counted by the live destination.';
comment on column postmeter.shadow_usage_difference.live_quantity is 'Their quantity.';
comment on column postmeter.shadow_usage_difference.shadow_usages is 'Usages counted by the shadow.';
comment on column postmeter.shadow_usage_difference.shadow_quantity is 'Their quantity.';
comment on column postmeter.shadow_usage_difference.uncounted_usages is 'Usages given to the shadow and not counted.';
comment on column postmeter.shadow_usage_difference.uncounted_quantity is 'Their quantity.';
comment on column postmeter.shadow_usage_difference.reasons is 'Why; waiting: not yet.';
comment on column postmeter.shadow_usage_difference.difference is 'Given to the shadow less counted live.';

insert into postmeter.migration (version, name) values (20, '0020_pre_views');
