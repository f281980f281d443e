//! A shadow never calls: by the worker's construction, and by the schema.

use outbox::settle::Settlement;
use remittance::{Answer, Outcome, Policy, RetrySchedule};

use super::*;

#[tokio::test]
async fn a_shadow_is_for_good_and_stands_beside_a_live_destination() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    for (sql, refused) in [
        ("update postmeter.destination set shadow_of = null, dry_run = false where name = 'trial'", "PM014 shadow_of destination_shadow_for_good"),
        ("update postmeter.destination set shadow_of = id where name = 'aws'", "PM014 shadow_of destination_shadow_for_good"),
        ("update postmeter.destination set dry_run = false where name = 'trial'", "23514 - destination_shadow_never_calls"),
        (
            "insert into postmeter.destination (name, kind, quota_id, age_limit, records_max, bytes_max, dry_run, shadow_of)
             select 'third', kind, quota_id, age_limit, records_max, bytes_max, true, id from postmeter.destination where name = 'trial'",
            "PM014 shadow_of destination_shadow_of_live",
        ),
    ] {
        assert_eq!(stage.refusal(sql).await, refused, "{sql}");
    }
    stage.close().await;
}

#[tokio::test]
async fn the_schema_refuses_whatever_would_say_that_a_shadow_was_sent() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    for set in [
        "status = 'accepted', confirmed = true",
        "status = 'accepted'",
        "status = 'rejected'",
        "status = 'unknown', maybe_billed = true, maybe_since = now()",
        "status = 'due', maybe_billed = true, maybe_since = now()",
        "shown_quantity = 5",
    ] {
        let refused = stage.refusal(&format!("update postmeter.delivery set {set} where shadow")).await;
        assert_eq!(refused, "23514 - delivery_shadow", "{set}");
    }
    // a worker that called all the same, and was throttled
    let refused = stage
        .refusal(
            "begin;
             insert into postmeter.attempt (delivery_id, destination_id, call_id, worker_id, number)
             select id, destination_id, gen_random_uuid(), gen_random_uuid(), 2 from postmeter.delivery where shadow;
             update postmeter.delivery d set status = 'in_flight', attempt_id = a.id
             from postmeter.attempt a where a.delivery_id = d.id and a.number = 2;
             with told as (
                 insert into postmeter.outcome (attempt_id, outcome, is_try)
                 select id, 'throttled', false from postmeter.attempt where number = 2 returning attempt_id)
             update postmeter.delivery d set status = 'due', attempt_id = null from told where d.attempt_id = told.attempt_id",
        )
        .await;
    assert_eq!(refused, "PM015 outcome shadow_never_calls");
    stage.sql("rollback").await;
    stage.close().await;
}

#[tokio::test]
async fn a_worker_makes_no_call_for_a_shadow() {
    let (stage, theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    // a worker that called would be refused by the schema and try for ever to write its answer down
    let sending = tokio::time::timeout(std::time::Duration::from_secs(30), stage.cut_at("2024-09-18T11:10:00Z"));
    let is_done = sending.await.is_ok();
    assert!(theirs.calls().is_empty(), "it called: {:?}", theirs.calls().len());
    assert!(is_done);
    assert_eq!(stage.value("select status from postmeter.remittance where shadow").await, "dry_run");
    stage.close().await;
}

#[tokio::test]
async fn a_worker_that_died_with_a_shadow_in_hand_leaves_nothing_unknown() {
    let (stage, theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    cut_both(&stage, "2024-09-18T11:10:00Z").await;
    let dying = stage.another_worker().await;
    let shadow = stage.rules("trial").await;
    let limits = outbox::claim::CallLimits { records: 25, bytes: 900_000 };
    let mut floor = outbox::claim::Floor::START;
    let database = &stage.db.database;
    let claims = outbox::claim::claim(database, shadow, dying.id(), 10, limits, &mut floor, None).await.unwrap();
    assert_eq!(claims.len(), 1);
    stage.end_lease_of(dying.id()).await;
    stage.worker.reap().await.unwrap();
    let standing = "select status || ' ' || maybe_billed || ' ' || attempts from postmeter.remittance where shadow";
    assert_eq!(stage.value(standing).await, "due false 1");
    stage.work().await;
    assert_eq!(stage.value(standing).await, "dry_run false 2");
    let outcomes = "select outcome from postmeter.attempt_ledger where shadow order by number";
    assert_eq!(stage.column(outcomes).await, ["handed_back", "dry_run"]);
    assert!(theirs.calls().is_empty());
    stage.close().await;
}

/// A live delivery and one of the shadow, claimed by one worker.
async fn claimed_both(stage: &Stage, worker: uuid::Uuid) {
    assert_eq!(stage.claim_as(worker).await.len(), 1);
    let limits = outbox::claim::CallLimits { records: 25, bytes: 900_000 };
    let mut floor = outbox::claim::Floor::START;
    let (database, shadow) = (&stage.db.database, stage.rules("trial").await);
    let claims = outbox::claim::claim(database, shadow, worker, 10, limits, &mut floor, None).await.unwrap();
    assert_eq!(claims.len(), 1);
}

/// What is known of a lost live attempt and of a shadow's: in order, so that both were in one settlement.
async fn assert_recovered(stage: &Stage) {
    let outcomes = "select concat_ws(' ', l.destination, outcome, code, d.status) from postmeter.attempt_ledger l
                    join postmeter.delivery d on d.id = delivery_id order by l.destination";
    assert_eq!(stage.column(outcomes).await, ["aws unknown worker_lost due", "trial handed_back due"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadows_lost_attempt_keeps_no_live_one_from_being_recovered() {
    let (stage, theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    cut_both(&stage, "2024-09-18T11:10:00Z").await;
    let worker = crate::lost::impatient(&stage).await;
    stage.sql("update postmeter.destination set call_timeout = '1 millisecond'").await;
    claimed_both(&stage, worker.id()).await;
    crate::lost::until_old(&stage).await;
    assert_eq!(worker.settle_lost().await.unwrap(), 2);
    assert_recovered(&stage).await;
    assert!(theirs.calls().is_empty());
}

#[tokio::test]
async fn a_worker_that_stopped_with_a_shadow_in_hand_is_taken_over_from() {
    let (stage, theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    cut_both(&stage, "2024-09-18T11:10:00Z").await;
    let gone = stage.another_worker().await;
    claimed_both(&stage, gone.id()).await;
    outbox::workers::stop(&stage.db.database, gone.id()).await.unwrap();
    stage.end_lease_of(gone.id()).await;
    assert_eq!(stage.worker.reap().await.unwrap(), 1);
    assert_recovered(&stage).await;
    assert!(theirs.calls().is_empty());
}

#[tokio::test]
async fn an_answer_that_a_shadow_cannot_have_had_is_refused_and_is_no_evidence() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    cut_both(&stage, "2024-09-18T11:10:00Z").await;
    let shadow = stage.rules("trial").await;
    let limits = outbox::claim::CallLimits { records: 25, bytes: 900_000 };
    let mut floor = outbox::claim::Floor::START;
    let claims = outbox::claim::claim(&stage.db.database, shadow, stage.worker.id(), 10, limits, &mut floor, None)
        .await
        .unwrap();
    let said = |outcome| Settlement {
        delivery: claims[0].delivery,
        attempt: claims[0].attempt,
        batch: 1,
        answer: Answer::bare(outcome),
        took: std::time::Duration::ZERO,
        others_passed: false,
        is_lost: false,
        is_death: false,
    };
    let policy = |_| Policy { retry: RetrySchedule::default(), memory: None };
    let settle =
        async |outcome| outbox::settle::settle(&stage.db.database, stage.worker.id(), &[said(outcome)], &policy).await;
    let standing = "select status from postmeter.remittance where shadow";
    for outcome in
        [Outcome::Accepted, Outcome::Throttled { after: None }, Outcome::Unknown { code: "timeout".to_owned() }]
    {
        assert!(settle(outcome).await.is_err(), "nothing is written, and the call is not repeated");
    }
    assert_eq!(stage.value(standing).await, "in_flight");
    settle(Outcome::DryRun).await.unwrap();
    // and once more, as a worker would that had lost its claim
    assert_eq!(settle(Outcome::Accepted).await.unwrap().late, 1);
    assert_eq!(stage.column("select outcome from postmeter.late_evidence").await, ["handed_back"]);
    stage.work().await;
    assert_eq!(stage.value(standing).await, "dry_run");
    stage.close().await;
}

#[tokio::test]
async fn lost_commits_leave_a_shadow_as_it_was() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    cut_both(&stage, "2024-09-18T11:10:00Z").await;
    stage.use_cores("b", "3", "2024-09-18T11:05:00Z").await;
    stage.fold().await;
    stage.worker.shadow().await.unwrap();
    stage.at("2024-09-18T12:06:00Z").await;
    stage.sql("select postmeter.timeline_went_back('ada', 'a restore')").await;
    stage.sql("update postmeter.destination set paused = false").await;
    stage.worker.reload().await.unwrap();
    stage.cut_at("2024-09-18T12:20:00Z").await;
    let maybe = "select string_agg(distinct destination || ' ' || status, ', ') from postmeter.remittance";
    assert_eq!(stage.value(maybe).await, "aws accepted, trial dry_run");
    stage.close().await;
}
