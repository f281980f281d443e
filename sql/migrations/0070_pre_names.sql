-- 0070_pre_names: functions are named for what they do.
-- programs: from 0022
-- lock: none

-- None of them has a caller outside the schema: triggers know their functions by number, and workers call
-- postmeter.reconsider, which keeps its name.
alter function postmeter.outbox_arrived() rename to outbox_after_insert;
alter function postmeter.due_arrived() rename to wake_workers;
alter function postmeter.cure_held() rename to return_cured_usage;
alter function postmeter.cure_implausible() rename to return_plausible_usage;
alter function postmeter.deadlines_follow() rename to recompute_deadlines;
alter function postmeter.limits_follow() rename to recompute_deadlines_of_destination;
alter function postmeter.contracts_follow() rename to assign_contract;
alter function postmeter.shadow_told() rename to lock_out_folds;
alter function postmeter.subscription_marks() rename to mark_buyers_of_subscription;
alter function postmeter.dimension_marks() rename to mark_buyers_of_dimension;
alter function postmeter.exemption_marks() rename to mark_buyers_of_exemption;
alter function postmeter.contract_marks() rename to mark_buyer_of_contract;
alter function postmeter.contradiction_stays() rename to forbid_change_of_contradiction;
alter function postmeter.only_dropped() rename to forbid_delete_unless_dropped;
alter function postmeter.late_of_dropped() rename to note_late_evidence_of_dropped;
alter function postmeter.delivery_stuck() rename to keep_stuck;
alter function postmeter.zero_since() rename to note_zero_since;
alter function postmeter.allocation_went() rename to prove_moved_allocation;
alter function postmeter.usage_went() rename to prove_moved_usage;
alter function postmeter.reconsider_stuck(integer, boolean) rename to revisit_dead_letters;

-- a trigger calls it, and no person may
revoke execute on function postmeter.recompute_deadlines_of_destination() from public;

insert into postmeter.migration (version, name) values (70, '0070_pre_names');
