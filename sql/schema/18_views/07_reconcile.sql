-- What they hold beside what we hold.

create view postmeter.reconciled as
    with latest as (
        select distinct on (r.destination_id, r.day) r.id, r.destination_id, r.day, r.asked_at
         from postmeter.reconciliation r
         order by r.destination_id, r.day, r.id desc
        ), theirs as (
        select l_1.id, x.buyer, x.dimension,
          sum(x.quantity) as quantity,
          sum(x.records) as records,
          string_agg(distinct x.state, ', '::text order by x.state) as states
         from latest l_1
          join postmeter.reported x on x.reconciliation_id = l_1.id
         where x.state <> 'Rejected'::text
         group by l_1.id, x.buyer, x.dimension
        ), ours as (
        select l_1.id, m.buyer, m.dimension,
          sum(coalesce(d.shown_quantity, d.quantity)) as quantity,
          count(*) as records
         from latest l_1
          join postmeter.meter m on m.destination_id = l_1.destination_id
          join postmeter.delivery d on d.meter_id = m.id and d.status = 'accepted'::text
              and d.hour >= (l_1.day::timestamp without time zone at time zone 'UTC'::text)
              and d.hour < ((l_1.day + 1)::timestamp without time zone at time zone 'UTC'::text)
         where m.month >= date_trunc('month'::text, (l_1.day - 1)::timestamptz)::date
             and m.month <= date_trunc('month'::text, (l_1.day + 1)::timestamptz)::date
         group by l_1.id, m.buyer, m.dimension
        )
    select t.name as destination, l.day,
      coalesce(o.buyer, h.buyer) as buyer,
      coalesce(o.dimension, h.dimension) as dimension,
      trim_scale(o.quantity) as ours,
      o.records as our_records,
      trim_scale(h.quantity) as theirs,
      h.records as their_records, h.states, case
          when not (exists ( select
           from postmeter.dropped_month g
           where g.destination_id = t.id and (g.month::timestamp without time zone at time zone t.zone) <
               ((l.day + 1)::timestamp without time zone at time zone 'UTC'::text)
               and ((g.month + '1 mon'::interval) at time zone t.zone) >
               (l.day::timestamp without time zone at time zone 'UTC'::text)))
               then trim_scale(coalesce(h.quantity, 0::numeric) - coalesce(o.quantity, 0::numeric))
          else null::numeric
        end as difference, case
          when (exists ( select
           from postmeter.dropped_month g
           where g.destination_id = t.id and (g.month::timestamp without time zone at time zone t.zone) <
               ((l.day + 1)::timestamp without time zone at time zone 'UTC'::text)
               and ((g.month + '1 mon'::interval) at time zone t.zone) >
               (l.day::timestamp without time zone at time zone 'UTC'::text))) then 'dropped'::text
          when h.buyer is null then 'ours_alone'::text
          when o.buyer is null then 'theirs_alone'::text
          when h.quantity <> o.quantity then 'quantity'::text
          else 'equal'::text
        end as verdict, l.asked_at
     from ours o
      FULL join theirs h on h.id = o.id and h.buyer = o.buyer and h.dimension = o.dimension
      join latest l on l.id = coalesce(o.id, h.id)
      join postmeter.destination t on t.id = l.destination_id;
comment on view postmeter.reconciled is
    'The latest answer for each day that was asked about, beside what we hold as accepted. verdict: equal, '
    'quantity (the sums differ), ours_alone (they hold nothing of what we call accepted: it was lost there), '
    'theirs_alone (they hold what we do not call accepted: somebody else sent it, or an unknown was taken). What '
    'they rejected does not count as theirs. Nothing is ever sent because of it.';
comment on column postmeter.reconciled.destination is 'Who was asked.';
comment on column postmeter.reconciled.day is 'The day that was asked about, UTC.';
comment on column postmeter.reconciled.buyer is 'The buyer in canonical text.';
comment on column postmeter.reconciled.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.reconciled.ours is
    'Billing units of that day that we hold as accepted; where they showed their own quantity, that.';
comment on column postmeter.reconciled.our_records is 'Remittances in ours.';
comment on column postmeter.reconciled.theirs is 'Billing units that they hold, without what they rejected.';
comment on column postmeter.reconciled.their_records is 'Records in theirs.';
comment on column postmeter.reconciled.states is 'Their words for how far they are with it.';
comment on column postmeter.reconciled.difference is 'Theirs less ours; null: dropped.';
comment on column postmeter.reconciled.verdict is
    'equal, quantity, ours_alone (they lost it) or theirs_alone (an unknown was taken, or somebody else sent it); '
    'dropped: the remittances of that day were dropped, and there is nothing to compare.';
comment on column postmeter.reconciled.asked_at is 'When.';

create view postmeter.contradiction_list as
    select c.id, c.noted_at, t.name as destination, c.delivery_id,
      coalesce(d.key, y.key) as key,
      coalesce(c.buyer, m.buyer) as buyer,
      coalesce(c.dimension, m.dimension) as dimension,
      coalesce(d.hour, y.hour) as hour,
      b.day, c.source, c.says,
      trim_scale(c.their_quantity) as their_quantity,
      e.attempt_id, e.outcome, e.code, e.receipt, e.their_request_id,
      coalesce(e.recorded_at, b.asked_at, c.noted_at) as said_at,
      c.said_by, c.is_earlier, c.settled_as,
      trim_scale(c.our_quantity) as our_quantity,
      s.verb as settled_verb, s.who as settled_by, s.why as settled_why, s.decided_at as settled_at,
      coalesce(d.status,
        case
          when y.delivery_id is not null or c.settled_as = 'dropped' then 'dropped'
          else null::text
        end) as status,
      c.decision_id is null as is_open,
      j.detail ->> 'counts' as counts,
      j.who as judged_by, j.why as judged_why, j.decided_at as judged_at
     from postmeter.contradiction c
      join postmeter.destination t on t.id = c.destination_id
      left join postmeter.delivery d on d.id = c.delivery_id
      left join postmeter.dropped_remittance y on y.delivery_id = c.delivery_id
      left join postmeter.meter m on m.id = d.meter_id
      left join postmeter.late_evidence e on e.id = c.evidence_id
      left join postmeter.reconciliation b on b.id = c.reconciliation_id
      left join postmeter.decision s on s.id = c.settled_by
      left join postmeter.decision j on j.id = c.decision_id;
comment on view postmeter.contradiction_list is
    'Contradictions with both sides: what they say, by which attempt or answer; as what it was settled here, by '
    'whom and why; and who judged it. Open ones need a person: postmeter judge.';
comment on column postmeter.contradiction_list.id is 'Number of the contradiction.';
comment on column postmeter.contradiction_list.noted_at is 'When it was noted, on postmeter.clock().';
comment on column postmeter.contradiction_list.destination is 'The destination''s name.';
comment on column postmeter.contradiction_list.delivery_id is
    'The remittance; null: a day''s sum of a buyer and a dimension.';
comment on column postmeter.contradiction_list.key is 'The remittance''s canonical key.';
comment on column postmeter.contradiction_list.buyer is 'The buyer in canonical text.';
comment on column postmeter.contradiction_list.dimension is 'The marketplace''s dimension.';
comment on column postmeter.contradiction_list.hour is 'The remittance''s hour, UTC.';
comment on column postmeter.contradiction_list.day is 'Of a day''s sum: the day.';
comment on column postmeter.contradiction_list.source is
    'What says so: late_evidence, reconciliation or person (a report that was resolved).';
comment on column postmeter.contradiction_list.says is
    'What it says: they hold it, they hold another quantity, or they hold nothing.';
comment on column postmeter.contradiction_list.their_quantity is 'What they hold; null: they did not say.';
comment on column postmeter.contradiction_list.attempt_id is 'Their side: the attempt that was answered late.';
comment on column postmeter.contradiction_list.outcome is 'Its outcome.';
comment on column postmeter.contradiction_list.code is 'The marketplace''s code in it.';
comment on column postmeter.contradiction_list.receipt is 'Their receipt.';
comment on column postmeter.contradiction_list.their_request_id is 'Their number of the request, for their support.';
comment on column postmeter.contradiction_list.said_at is 'When they said so.';
comment on column postmeter.contradiction_list.said_by is 'Who asked or said so, if it was a person.';
comment on column postmeter.contradiction_list.is_earlier is
    'The attempt is of an earlier cut than the one that stands now.';
comment on column postmeter.contradiction_list.settled_as is 'Our side: the remittance''s status when it was noted.';
comment on column postmeter.contradiction_list.our_quantity is 'Our quantity at that time.';
comment on column postmeter.contradiction_list.settled_verb is
    'The verb of the decision that settled it so; null: answers did.';
comment on column postmeter.contradiction_list.settled_by is 'Who decided that.';
comment on column postmeter.contradiction_list.settled_why is 'Why.';
comment on column postmeter.contradiction_list.settled_at is 'When.';
comment on column postmeter.contradiction_list.status is
    'Where the remittance stands now; dropped: with its billing month.';
comment on column postmeter.contradiction_list.is_open is 'Nobody has judged it yet.';
comment on column postmeter.contradiction_list.counts is 'What counts, as it was judged: ours or theirs.';
comment on column postmeter.contradiction_list.judged_by is 'Who judged it.';
comment on column postmeter.contradiction_list.judged_why is 'Why.';
comment on column postmeter.contradiction_list.judged_at is 'When.';
