-- The rows that belong to the schema, and the first partitions.

insert into postmeter.setting default values;
insert into postmeter.gate (name) values
    ('catalogue'),
    ('create_partitions'),
    ('create_request_partitions'),
    ('gather_requests'),
    ('import'),
    ('make_alert_post'),
    ('turn_identities');
insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('balance_not_zero'         , 'critical', '00:01:00', '00:00:00', '00:00:10'),
    ('breaker_open'             , 'warning' , '00:00:30', '00:05:00', '00:00:10'),
    ('buyer_refused'            , 'warning' , '00:00:15', '00:00:00', '00:00:10'),
    ('conflict'                 , 'warning' , '00:00:30', '00:00:00', '00:00:10'),
    ('contradiction'            , 'critical', '00:00:30', '00:00:00', '00:00:10'),
    ('dead_letters'             , 'warning' , '00:01:00', '00:10:00', '00:00:10'),
    ('destination_paused'       , 'warning' , '00:01:00', '01:00:00', '00:00:10'),
    ('fleet_incomplete'         , 'warning' , '00:00:30', '00:05:00', '00:00:10'),
    ('held_without_subscription', 'warning' , '00:01:00', '01:00:00', '00:00:10'),
    ('hour_not_cut'             , 'critical', '00:00:30', '00:05:00', '00:00:10'),
    ('implausible_usage'        , 'warning' , '00:01:00', '00:00:00', '00:00:10'),
    ('installation_unclear'     , 'critical', '00:00:15', '00:00:00', '00:00:10'),
    ('key_stuck'                , 'warning' , '00:00:30', '00:01:00', '00:00:10'),
    ('locked_out'               , 'warning' , '00:00:30', '00:02:00', '00:00:10'),
    ('missing_hours'            , 'warning' , '00:10:00', '00:00:00', '00:01:00'),
    ('no_worker_alive'          , 'critical', '00:00:30', '00:01:00', '00:00:10'),
    ('outbox_oldest_entry'      , 'critical', '00:00:30', '00:15:00', '00:00:10'),
    ('partition_ahead_missing'  , 'warning' , '00:05:00', '00:00:00', '00:00:10'),
    ('poison'                   , 'warning' , '00:00:30', '00:00:00', '00:00:10'),
    ('requests_never_finished'  , 'warning' , '00:01:00', '00:00:00', '00:00:10'),
    ('set_aside'                , 'critical', '00:00:30', '00:00:00', '00:00:10'),
    ('snapshot_pins_horizon'    , 'warning' , '00:00:30', '00:05:00', '00:00:10'),
    ('step_failing'             , 'critical', '00:00:30', '00:00:00', '00:00:10'),
    ('stray_entries'            , 'critical', '00:00:30', '00:00:00', '00:00:10'),
    ('timeline_went_back'       , 'critical', '00:00:30', '00:00:00', '00:00:10'),
    ('unknown_unresolved'       , 'warning' , '00:00:30', '00:15:00', '00:00:10'),
    ('usage_will_miss_deadline' , 'critical', '00:01:00', '00:00:00', '00:00:20');

insert into postmeter.balance_check default values;
insert into postmeter.identity_generation (began_at) values (postmeter.clock());
insert into postmeter.installation default values;
insert into postmeter.request_floor default values;
insert into postmeter.request_recount (words) values (postmeter.tracker_words());

select postmeter.create_partitions(1);
select postmeter.create_request_partitions(7);

reset check_function_bodies;
