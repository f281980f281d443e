-- 0008_pre_grants: who may do what. Run sql/roles.sql first.
-- programs: from 0008
-- lock: none

revoke all on schema postmeter from public;
revoke execute on all functions in schema postmeter from public;
grant usage on schema postmeter to postmeter_producer, postmeter_worker, postmeter_operator, postmeter_reader;

grant execute on function
    postmeter.record_usage(text, text, text, text, text, numeric, timestamptz, text, text, text, text, jsonb),
    postmeter.record_usage_batch(jsonb), postmeter.new_id(), postmeter.clock()
    to postmeter_producer;
grant insert (source, event_id, org, product, metric, quantity, used_at, account, corrects, request_id, traceparent, attributes)
    on postmeter.outbox to postmeter_producer;

grant select on all tables in schema postmeter to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.clock(), postmeter.hour_of(timestamptz), postmeter.month_of(timestamptz, text),
    postmeter.id_at(timestamptz), postmeter.deadline_of(integer, text, timestamptz), postmeter.target_hour(bigint),
    postmeter.remittance_key(text, text, timestamptz), postmeter.usage_identity_of(text, text),
    postmeter.round_units(numeric, numeric, text, integer), postmeter.lcm_of(bigint),
    postmeter.resolve(text[], text[], text[], text[], timestamptz[], integer),
    postmeter.deliveries_by(jsonb, boolean), postmeter.held_usage_by(jsonb), postmeter.filter_fits(jsonb)
    to postmeter_reader, postmeter_operator, postmeter_worker;

grant execute on function
    postmeter.retry(jsonb, text, text, boolean), postmeter.release(jsonb, text, text, boolean),
    postmeter.write_off(jsonb, text, text, boolean), postmeter.resolve_unknown(bigint, boolean, text, text),
    postmeter.retry_held(jsonb, text, text, boolean), postmeter.write_off_held(jsonb, text, text, boolean),
    postmeter.pause(text, text, text), postmeter.resume(text, text, text)
    to postmeter_operator;
grant insert, update, delete on postmeter.quota, postmeter.destination, postmeter.subscription, postmeter.cover,
    postmeter.dimension, postmeter.exemption to postmeter_operator;

grant insert, delete on postmeter.outbox, postmeter.open_hour, postmeter.due, postmeter.later, postmeter.held to postmeter_worker;
grant insert, update on postmeter.meter, postmeter.meter_metric, postmeter.delivery, postmeter.worker to postmeter_worker;
grant insert on postmeter.allocation, postmeter.exempted, postmeter.cut, postmeter.attempt, postmeter.outcome, postmeter.late_evidence to postmeter_worker;
grant update (buyer, buyer_account, identity_form, invalid) on postmeter.subscription to postmeter_worker;
grant update (next_slot_at) on postmeter.quota to postmeter_worker;
-- rows are locked before they are moved, and a lock needs a grant to update some column; nothing updates these tables
grant update (returned) on postmeter.outbox to postmeter_worker;
grant update (deadline) on postmeter.due to postmeter_worker;
grant update (due_at) on postmeter.later to postmeter_worker;
grant execute on function postmeter.new_id(), postmeter.open_late(bigint, timestamptz, jsonb, text),
    postmeter.lock_meters(bigint[]), postmeter.open_target(bigint, jsonb, text), postmeter.open_hour_at(bigint, timestamptz, jsonb, text),
    postmeter.return_cured(integer), postmeter.create_partitions(integer),
    postmeter.record_usage(text, text, text, text, text, numeric, timestamptz, text, text, text, text, jsonb),
    postmeter.record_usage_batch(jsonb)
    to postmeter_worker;

-- partitions that are made later inherit nothing: people read through the parents

insert into postmeter.migration (version, name) values (8, '0008_pre_grants');
