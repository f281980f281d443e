-- The ledger of attempts and the log of decisions.

create view postmeter.attempt_ledger as
select a.id as attempt_id, a.delivery_id, d.key, t.name as destination, a.number, a.call_id, a.claimed_at, a.worker_id,
       coalesce(o.outcome, 'open') as outcome, o.code, o.is_try, o.shown_quantity, o.receipt, o.http_status,
       o.their_request_id, o.excerpt, o.duration, o.recorded_at, d.quantity, d.status, d.shadow
from postmeter.attempt a
join postmeter.delivery d on d.id = a.delivery_id
join postmeter.destination t on t.id = a.destination_id
left join postmeter.outcome o on o.attempt_id = a.id;
comment on view postmeter.attempt_ledger is
    'Every attempt with its outcome; open: a call may be under way, or its worker died. The evidence.';
comment on column postmeter.attempt_ledger.attempt_id is 'UUIDv7, ordered by time.';
comment on column postmeter.attempt_ledger.delivery_id is 'What was sent.';
comment on column postmeter.attempt_ledger.key is 'Its key.';
comment on column postmeter.attempt_ledger.destination is 'Where.';
comment on column postmeter.attempt_ledger.number is 'Which attempt of this delivery, from 1.';
comment on column postmeter.attempt_ledger.call_id is 'Attempts of one call share it.';
comment on column postmeter.attempt_ledger.claimed_at is 'When the intent was written.';
comment on column postmeter.attempt_ledger.worker_id is 'By whom.';
comment on column postmeter.attempt_ledger.outcome is
    'What was told; open: a call may be under way, or its worker died.';
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

create view postmeter.decision_log as
    select c.id, c.decided_at, c.who, c.why, c.verb, c.role_name, c.delivery_id,
      coalesce(d.key, y.key) as key,
      c.usage_id, t.name as destination, c.status_before, c.status_after, c.quantity, c.target_delivery_id,
      c.detail
     from postmeter.decision c
      left join postmeter.delivery d on d.id = c.delivery_id
      left join postmeter.dropped_remittance y on y.delivery_id = c.delivery_id
      left join postmeter.destination t on t.id = coalesce(c.destination_id, d.destination_id, y.destination_id);
comment on view postmeter.decision_log is 'What people decided, and why.';
comment on column postmeter.decision_log.id is 'Number.';
comment on column postmeter.decision_log.decided_at is 'When.';
comment on column postmeter.decision_log.who is 'The person, or the name of a token.';
comment on column postmeter.decision_log.why is 'The reason, in a sentence.';
comment on column postmeter.decision_log.verb is
    'retry, release, recount, write_off, hold, resolve, pause, resume, probe, close, reopen, apply (a catalogue '
    'over HTTP), retain, export, drop, set_alert, judge, declare.';
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
