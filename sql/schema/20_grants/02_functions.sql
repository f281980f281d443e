-- Who may call which function.

grant execute on function
    postmeter.begin_import(text, text), postmeter.hours_of_other_recipes(text, timestamptz[], text, text),
    postmeter.import_batch(jsonb, boolean), postmeter.import_times(text, text, text[]),
    postmeter.record_usage(text, text, text, text, text, numeric, date, text, text, text, text, jsonb),
    postmeter.record_usage(text, text, text, text, text, numeric, timestamp, text, text, text, text, jsonb)
    to postmeter_producer;

grant execute on function
    postmeter.awaited(bigint[]), postmeter.buyers_now(bigint), postmeter.create_partitions(integer),
    postmeter.create_request_partitions(integer, integer), postmeter.deadlines_behind(bigint[]),
    postmeter.drop_request_partitions(), postmeter.end_marked(bigint[], integer, boolean),
    postmeter.forget_processes(integer), postmeter.forget_requests(integer),
    postmeter.insert_parts(bigint[], bigint[]), postmeter.installation_went_on(text), postmeter.keep_held(uuid[]),
    postmeter.lock_meters(bigint[]), postmeter.make_alert_post(interval),
    postmeter.mark_is_unread(postmeter.catalogue_mark), postmeter.month_gate(),
    postmeter.note_contradictions(bigint[]), postmeter.open_hour_at(bigint, timestamptz, jsonb, text),
    postmeter.open_last_hour(bigint, timestamptz, jsonb, text), postmeter.open_late(bigint, timestamptz, jsonb, text),
    postmeter.open_target(bigint, jsonb, text), postmeter.part_keys(bigint), postmeter.put_request_news_behind(),
    postmeter.reconsider(bigint[]), postmeter.recorded_before_loss(uuid[], integer[]),
    postmeter.recount_requests(integer), postmeter.resolved_at(text, text, timestamptz),
    postmeter.return_cured(integer), postmeter.return_cured_of(uuid[]), postmeter.return_exempted(uuid[]),
    postmeter.return_marked(uuid[], bigint[]), postmeter.return_plausible_of(uuid[]),
    postmeter.return_shadow(integer), postmeter.return_shadow_of(integer[], uuid[]),
    postmeter.revisit_dead_letters(integer, boolean), postmeter.setbacks_over(text),
    postmeter.settle_alert_post(bigint, integer, text), postmeter.settle_installation(text),
    postmeter.stray_reason(postmeter.outbox), postmeter.take_alert_post(interval), postmeter.turn_identities()
    to postmeter_worker;

grant execute on function
    postmeter.begin_month_drop(text, date, text, text, boolean, date), postmeter.catalogue_gate(),
    postmeter.catalogue_moves(bigint), postmeter.close_month(text, date, text, text, boolean, boolean),
    postmeter.close_request(text, text, text), postmeter.create_token(text, bytea, text[], text, text),
    postmeter.declare_installation(text, text, text, boolean, text), postmeter.drop_ledger_leftovers(date, integer),
    postmeter.drop_ledger_month(date, text, text, boolean), postmeter.drop_month_share(text, date, integer),
    postmeter.hold(jsonb, text, text, boolean), postmeter.judge(bigint, text, text, text),
    postmeter.month_gate_alone(), postmeter.pause(text, text, text), postmeter.probe(text, text, text),
    postmeter.record_ledger_export(date, text, text, text),
    postmeter.record_month_export(text, date, text, text, text),
    postmeter.recount(jsonb, text, text, boolean, boolean), postmeter.release(jsonb, text, text, boolean),
    postmeter.reopen_import(text, text, text, text, text, boolean),
    postmeter.reopen_import_unit(text, text, text, text, text),
    postmeter.reopen_month(text, date, text, text, boolean), postmeter.resolve_quantity(bigint, numeric, text, text),
    postmeter.resolve_rows(jsonb, text, text, boolean), postmeter.resolve_stray(bigint, boolean, text, text),
    postmeter.resolve_unknown(bigint, boolean, text, text), postmeter.resume(text, text, text),
    postmeter.retry(jsonb, text, text, boolean), postmeter.retry_held(jsonb, text, text, boolean),
    postmeter.revoke_token(text, text),
    postmeter.set_alert_rule(text, text, text, text, interval, interval, interval, boolean),
    postmeter.set_ledger_retention(interval, text, text), postmeter.sign_catalogue(text, text, jsonb),
    postmeter.write_off(jsonb, text, text, boolean), postmeter.write_off_held(jsonb, text, text, boolean)
    to postmeter_operator;

grant execute on function
    postmeter.usage_id_from(timestamptz), postmeter.usage_id_until(timestamptz),
    postmeter.usage_id_used_from(timestamptz), postmeter.usage_warnings(uuid[])
    to postmeter_reader;

grant execute on function postmeter.console_seen(uuid, text, text, boolean) to postmeter_console;

grant execute on function
    postmeter.count_refusals(text, text[], text[], bigint[], text[]), postmeter.new_id(),
    postmeter.record_usage(text, text, text, text, text, numeric, timestamptz, text, text, text, text, jsonb),
    postmeter.record_usage_batch(jsonb),
    postmeter.track(text, text, text, timestamptz, text, text, text, text, text, text), postmeter.track_batch(jsonb)
    to postmeter_producer, postmeter_worker;

grant execute on function
    postmeter.ask_meters_anew(integer), postmeter.ask_open_anew(), postmeter.marked_exempt(bigint[]),
    postmeter.marked_usage(bigint[], bigint[], boolean), postmeter.next_usage_anew(integer),
    postmeter.note_day_contradictions(text, date, text),
    postmeter.placed_otherwise(bigint[], bigint[], text[], text[], timestamptz[], timestamptz[], boolean),
    postmeter.prove_anew(bigint[], integer), postmeter.prove_balance_anew(), postmeter.prove_carried(),
    postmeter.prove_moved(bigint[]), postmeter.prove_slices(text[]), postmeter.prove_usage(text, text),
    postmeter.read_again_over(), postmeter.read_again_took(double precision), postmeter.read_usage_anew(text),
    postmeter.timeline_went_back(text, text)
    to postmeter_worker, postmeter_operator;

grant execute on function
    postmeter.forget_answers(), postmeter.gather_gate(), postmeter.gather_requests(integer)
    to postmeter_worker, postmeter_console;

grant execute on function
    postmeter.correction_outlook(uuid), postmeter.foretell_usage(jsonb),
    postmeter.usage_outlook(text[], text[], text[], text[], timestamptz[], numeric[])
    to postmeter_operator, postmeter_reader;

grant execute on function
    postmeter.allocates_by(integer, text, text, timestamptz), postmeter.broken_at(), postmeter.chain_of(text),
    postmeter.chain_step(bytea, text), postmeter.check_generation(), postmeter.check_ledger_kept(text, date),
    postmeter.check_month_kept(integer, date), postmeter.check_month_rows(text, date, text),
    postmeter.check_not_dropped(bigint[]), postmeter.close_report(text, date), postmeter.contradicted(bigint),
    postmeter.counted(bigint, text), postmeter.deadline_of(integer, text, timestamptz),
    postmeter.deliveries_by(jsonb, boolean), postmeter.dropped_with(bigint), postmeter.filter_fits(jsonb),
    postmeter.folded_until(), postmeter.held_usage_by(jsonb), postmeter.hour_of(timestamptz),
    postmeter.id_at(timestamptz), postmeter.identities_overdue(), postmeter.installation_doubt(),
    postmeter.largest_remainder(numeric, integer, numeric[]), postmeter.last_remittance(bigint),
    postmeter.lcm_of(numeric), postmeter.ledger_heads(date), postmeter.ledger_leftover_heads(date),
    postmeter.ledger_line(postmeter.allocation), postmeter.ledger_line(postmeter.attempt),
    postmeter.ledger_line(postmeter.cut), postmeter.ledger_line(postmeter.delivery),
    postmeter.ledger_line(postmeter.exempted), postmeter.ledger_line(postmeter.meter),
    postmeter.ledger_line(postmeter.meter_metric), postmeter.ledger_line(postmeter.outcome),
    postmeter.ledger_line(postmeter.part), postmeter.ledger_line(postmeter.usage),
    postmeter.ledger_line(postmeter.usage_written_off), postmeter.ledger_span(date),
    postmeter.ledger_time(timestamptz), postmeter.ledger_why_not(date),
    postmeter.meter_ends(integer, text, timestamptz), postmeter.moment_of(uuid),
    postmeter.month_drop_why_not(text, date, date), postmeter.month_heads(text, date),
    postmeter.month_is_dropped(integer, date), postmeter.month_last_deadline(text, date),
    postmeter.month_of(timestamptz, text), postmeter.month_rows_differ(text, date, text),
    postmeter.month_unfinished(text, date), postmeter.open_attempts(),
    postmeter.plausible(text[], text[], text[], bigint[]), postmeter.recalculate(text, date),
    postmeter.remittance_key(text, text, timestamptz), postmeter.reports_zero(integer, text, text, timestamptz),
    postmeter.request_floor_now(), postmeter.request_key_of(text), postmeter.request_steps(text),
    postmeter.requests_indexed(), postmeter.resolve(text[], text[], text[], text[], timestamptz[], integer),
    postmeter.round_units(numeric, numeric, text, integer), postmeter.served_until(integer, text, timestamptz),
    postmeter.server_identity(), postmeter.target_hour(bigint), postmeter.this_week(), postmeter.told_dropped(bigint),
    postmeter.told_dropped_key(text, text), postmeter.tracker_words(), postmeter.usage_identity_of(text, text),
    postmeter.usage_of(text, text), postmeter.when_said(timestamptz)
    to postmeter_worker, postmeter_operator, postmeter_reader;

grant execute on function
    postmeter.note_alert_failure(text, text), postmeter.note_alerts(text, jsonb),
    postmeter.take_alert_rule(text[], boolean), postmeter.try_setbacks_again()
    to postmeter_worker, postmeter_operator, postmeter_console;

grant execute on function
    postmeter.clock()
    to postmeter_producer, postmeter_worker, postmeter_operator, postmeter_reader;

grant execute on function
    postmeter.contract_keys(bigint), postmeter.contract_name(text, text),
    postmeter.contract_subscriptions(integer, text, date), postmeter.dimension_in(integer, text, date),
    postmeter.held_needs(postmeter.held), postmeter.hours_of_meter(bigint),
    postmeter.key_of_hour(bigint, timestamptz), postmeter.release_needs(bigint[]), postmeter.requests_as_of(),
    postmeter.shares_cover(bigint), postmeter.target_hour_of_key(bigint), postmeter.target_way(bigint)
    to postmeter_worker, postmeter_operator, postmeter_reader, postmeter_console;
