-- ready_worker: passes if the main statements of a worker can: fold, cut, claim, settle and heartbeat. It takes the locks
-- on tables that they take, touches no row, and is rolled back.
with folded as (
    delete from postmeter.outbox where false
), allocated as (
    insert into postmeter.allocation (usage_id) select null::uuid where false
), cut as (
    update postmeter.delivery set status = status where false
), metered as (
    update postmeter.meter set carried = carried where false
), claimed as (
    delete from postmeter.due where false
), waiting as (
    delete from postmeter.later where false
), tried as (
    insert into postmeter.attempt (id) select null::uuid where false
), settled as (
    insert into postmeter.outcome (attempt_id) select null::uuid where false
), alive as (
    update postmeter.worker set heartbeat_at = heartbeat_at where false
), frozen as (
    insert into postmeter.cut (delivery_id) select null::bigint where false
), stuck as (
    delete from postmeter.stuck where false
), refused as (
    delete from postmeter.refusal where false
), paced as (
    update postmeter.quota set next_slot_at = next_slot_at where false
), known as (
    select from postmeter.setting, postmeter.subscription, postmeter.dimension, postmeter.destination, postmeter.pace, postmeter.late_evidence,
                postmeter.held, postmeter.open_hour, postmeter.closed_month, postmeter.usage
    where false
)
select postmeter.clock()
