-- Who may read and write which table.

revoke all on schema postmeter from public;
revoke execute on all functions in schema postmeter from public;
grant usage on schema postmeter
    to postmeter_producer, postmeter_worker, postmeter_operator, postmeter_reader, postmeter_console;

-- partitions that are made later inherit nothing: people read through the parents
grant select on all tables in schema postmeter
    to postmeter_worker, postmeter_operator, postmeter_reader;
revoke select on
    postmeter.outbox_entry, postmeter.token, postmeter.idempotency, postmeter.request_status_default, postmeter.gate,
    postmeter.token_list, postmeter.balance_gate, postmeter.usage_list
    from postmeter_worker, postmeter_operator, postmeter_reader;

grant insert (
    source, event_id, org, product, metric, quantity, used_at, account, corrects, request_id, traceparent, attributes
)
    on postmeter.outbox to postmeter_producer;

grant delete on postmeter.cure, postmeter.deadline_change, postmeter.catalogue_mark to postmeter_worker;
grant insert on
    postmeter.exempted, postmeter.allocation, postmeter.cut, postmeter.attempt, postmeter.outcome,
    postmeter.late_evidence, postmeter.usage_written_off, postmeter.reconciliation, postmeter.reported,
    postmeter.stray_entry, postmeter.usage_moved
    to postmeter_worker;
grant insert, delete on
    postmeter.held, postmeter.open_hour, postmeter.due, postmeter.later, postmeter.usual, postmeter.outbox
    to postmeter_worker;
grant insert, update on
    postmeter.meter, postmeter.meter_metric, postmeter.delivery, postmeter.worker
    to postmeter_worker;
grant insert, update, delete on
    postmeter.breaker, postmeter.shadow_usage, postmeter.setback, postmeter.step_failure, postmeter.suspect_range,
    postmeter.suspect, postmeter.refusal, postmeter.pace
    to postmeter_worker;
grant select, update on postmeter.balance_gate to postmeter_worker;
-- rows are locked before they are moved, and a lock needs a grant to update some column
grant update (next_slot_at) on postmeter.quota to postmeter_worker;
grant update (buyer, buyer_account, identity_form, invalid) on postmeter.subscription to postmeter_worker;
grant update (deadline) on postmeter.due to postmeter_worker;
grant update (due_at) on postmeter.later to postmeter_worker;
grant update (next_at, checked_at, open, example, seconds) on postmeter.balance_check to postmeter_worker;
grant update (next_at, awaits) on postmeter.deadline_change to postmeter_worker;
grant update (next_at, awaits) on postmeter.catalogue_mark to postmeter_worker;
grant update (returned) on postmeter.outbox to postmeter_worker;

grant delete on postmeter.shadow_usage to postmeter_operator;
grant insert on postmeter.reconciliation, postmeter.reported to postmeter_operator;
grant insert, update, delete on
    postmeter.quota, postmeter.destination, postmeter.subscription, postmeter.cover, postmeter.dimension,
    postmeter.exemption, postmeter.route
    to postmeter_operator;
grant select on postmeter.token_list to postmeter_operator;
grant select, update on postmeter.balance_gate to postmeter_operator;

grant select on postmeter.token_list, postmeter.usage_list to postmeter_reader;

grant select on
    postmeter.token, postmeter.token_list, postmeter.contract_member, postmeter.recounted, postmeter.import_unit,
    postmeter.import_list, postmeter.import_period, postmeter.import_end, postmeter.request_unit,
    postmeter.request_heard, postmeter.request_awaited
    to postmeter_console;
grant select, insert on postmeter.idempotency to postmeter_console;
