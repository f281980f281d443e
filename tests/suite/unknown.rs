//! E: what nobody knows, and how it becomes known.

use outbox::corrections::{self, Decider};
use simulator::{FaultKind, FaultRule, When};
use tests::Stage;

const ME: Decider<'_> = Decider { who: "ada", why: "checked the seller report" };

/// A stage on which one core of 10:00 is recorded; its hour is not cut yet.
async fn one_core() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "1", "2024-09-18T10:10:00Z").await;
    stage
}

#[tokio::test]
async fn e1_a_lost_answer_is_unknown_and_the_retry_is_the_same_to_the_letter() {
    let stage = one_core().await;
    stage.aws.add_fault(FaultRule::new(FaultKind::LoseResponse).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.value("select status || ' ' || maybe_billed from postmeter.remittance").await, "due true");
    let before = stage.value("select body || idempotency_key || hour from postmeter.delivery").await;
    stage.work_at("2024-09-18T11:11:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"]);
    assert_eq!(stage.value("select body || idempotency_key || hour from postmeter.delivery").await, before);
    assert_eq!(
        stage.column("select outcome from postmeter.attempt_ledger order by number").await,
        ["unknown", "accepted"]
    );
    assert_eq!(stage.accepted(), ["18T10 1"], "billed once");
    stage.close().await;
}

#[tokio::test]
async fn d3_a_duplicate_after_an_unknown_is_ours_but_its_quantity_is_not_confirmed() {
    let stage = one_core().await;
    let mut settings = stage.aws.settings();
    settings.aws.identical_resend = simulator::IdenticalResend::Duplicate;
    stage.aws.set_settings(settings);
    stage.aws.add_fault(FaultRule::new(FaultKind::LoseResponse).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.work_at("2024-09-18T11:11:00Z").await;
    assert_eq!(stage.value("select status || ' ' || confirmed from postmeter.remittance").await, "accepted false");
    assert_eq!(
        stage.column("select outcome from postmeter.attempt_ledger order by number").await,
        ["unknown", "duplicate"]
    );
    stage.close().await;
}

#[tokio::test]
async fn d3_a_duplicate_that_nobody_can_have_sent_is_a_conflict() {
    let stage = one_core().await;
    // somebody else reported under our key
    let other = Stage::new().await;
    other.at("2024-09-18T10:30:00Z").await;
    other.use_cores("theirs", "7", "2024-09-18T10:10:00Z").await;
    let endpoint = serde_json::json!({"region": "us-east-1", "endpoint": stage.aws.url()}).to_string();
    other.sql(&format!("update postmeter.destination set settings = '{endpoint}'")).await;
    other.worker.reload().await.unwrap();
    stage.at("2024-09-18T11:10:00Z").await;
    other.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 7"]);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 conflict 1"]);
    assert_eq!(
        stage.value("select conflict || ' ' || difference from postmeter.balance").await,
        "1 0",
        "what they hold is not said: the whole is in conflict"
    );
}

#[tokio::test]
async fn e12_a_refusal_after_a_lost_answer_leaves_it_maybe_billed() {
    let stage = one_core().await;
    stage.aws.add_fault(FaultRule::new(FaultKind::LoseResponse).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage
        .aws
        .add_fault(FaultRule::new(FaultKind::RefuseRecord).error("TimestampOutOfBoundsException").times(1))
        .unwrap();
    stage.work_at("2024-09-18T11:11:00Z").await;
    assert_eq!(stage.value("select status || ' ' || maybe_billed from postmeter.remittance").await, "unknown true");
    let filter = serde_json::json!({"status": "unknown"});
    for verb in [corrections::Verb::Release, corrections::Verb::WriteOff] {
        let changes = corrections::correct(&stage.db.database, verb, &filter, ME, false).await.unwrap();
        assert_eq!(changes[0].after, "unknown", "{verb:?} must not move what may have been billed");
    }
    // new usage of the meter goes its own way and does not bill it again
    stage.use_cores("two", "1", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 1"]);
    let id: i64 = stage
        .value("select delivery_id::text from postmeter.remittance where status = 'unknown'")
        .await
        .parse()
        .unwrap();
    let resolved = corrections::resolve(&stage.db.database, id, true, ME).await.unwrap();
    assert_eq!((resolved.now.as_str(), resolved.changed), ("accepted", true));
    assert_eq!(
        stage.value("select who || ': ' || why from postmeter.decision_log where verb = 'resolve'").await,
        "ada: checked the seller report"
    );
    stage.close().await;
}

#[tokio::test]
async fn e12_not_billed_by_hand_is_sent_again_in_time_and_expires_after() {
    let stage = one_core().await;
    stage.aws.add_fault(FaultRule::new(FaultKind::LoseRequest).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.aws.add_fault(FaultRule::new(FaultKind::RefuseRecord).error("InvalidTagException").times(1)).unwrap();
    stage.work_at("2024-09-18T11:11:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 unknown 1"]);
    let id: i64 = stage.value("select delivery_id::text from postmeter.remittance").await.parse().unwrap();
    let resolved = corrections::resolve(&stage.db.database, id, false, ME).await.unwrap();
    assert_eq!((resolved.now.as_str(), resolved.changed), ("due", true));
    stage.work().await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"]);
    let twice = corrections::resolve(&stage.db.database, id, false, ME).await.unwrap();
    assert_eq!((twice.now.as_str(), twice.changed), ("accepted", false), "e8: twice changes nothing more");
    let otherwise = corrections::resolve(&stage.db.database, id, true, ME).await;
    assert!(matches!(otherwise, Err(outbox::Error::Refused(refused)) if refused.code == "PM034"));
    assert_eq!(stage.value("select count(*)::text from postmeter.decision where verb = 'resolve'").await, "1");
    stage.close().await;
}

#[tokio::test]
async fn e4_retry_and_new_usage_of_the_same_meter_bill_once_in_either_order() {
    for usage_first in [true, false] {
        let stage = one_core().await;
        stage.aws.add_fault(FaultRule::new(FaultKind::LoseResponse).times(1)).unwrap();
        stage.cut_at("2024-09-18T11:10:00Z").await;
        if usage_first {
            stage.use_cores("late", "2", "2024-09-18T10:20:00Z").await;
            stage.fold().await;
            stage.work_at("2024-09-18T11:11:00Z").await;
        } else {
            stage.work_at("2024-09-18T11:11:00Z").await;
            stage.use_cores("late", "2", "2024-09-18T10:20:00Z").await;
        }
        stage.cut_at("2024-09-18T12:10:00Z").await;
        let total: i64 = stage.aws.record().iter().map(|a| a.quantity.to_string().parse::<i64>().unwrap()).sum();
        assert_eq!(total, 3, "usage first: {usage_first}: {:?}", stage.accepted());
        stage.close().await;
    }
}

#[tokio::test]
async fn e5_ten_failures_one_success_five_repetitions_are_one_record() {
    let stage = one_core().await;
    stage.aws.add_fault(FaultRule::new(FaultKind::LoseRequest).times(5)).unwrap();
    stage.aws.add_fault(FaultRule::new(FaultKind::LoseResponse).times(5)).unwrap();
    let mut minute = 10;
    while stage.remittances().await != ["18T10 accepted 1"] {
        stage.cut_at(&format!("2024-09-18T{}:{:02}:00Z", 11 + minute / 60, minute % 60)).await;
        minute += 7;
        assert!(minute < 300, "{:?}", stage.remittances().await);
    }
    for _ in 0..5 {
        stage.use_cores("one", "1", "2024-09-18T10:10:00Z").await;
    }
    stage.cut_at("2024-09-18T17:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.attempt").await, "11");
    stage.close().await;
}

#[tokio::test]
async fn e3_late_evidence_moves_no_status_but_is_read_before_any_resend() {
    let stage = one_core().await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    // a worker claims, is taken for dead, and wakes with an answer
    let frozen = stage.another_worker().await;
    let claims = stage.claim_as(frozen.id()).await;
    stage.end_lease_of(frozen.id()).await;
    assert_eq!(stage.worker.reap().await.unwrap(), 1);
    assert_eq!(stage.value("select status || ' ' || maybe_billed from postmeter.remittance").await, "due true");
    stage.settle_as(frozen.id(), &claims, remittance::Outcome::Accepted).await;
    assert_eq!(stage.value("select status from postmeter.remittance").await, "due", "late evidence moves no status");
    assert_eq!(stage.worker.send().await.unwrap(), 0, "unread evidence keeps it from being sent again");
    stage.worker.maintain().await.unwrap();
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.late_evidence").await, "1");
    assert!(!frozen.beat().await.unwrap(), "it hears that it was taken for dead");
    assert_eq!(frozen.send().await.unwrap(), 0, "and starts no call");
}

#[tokio::test]
async fn e2_a_worker_that_dies_after_the_claim_leaves_a_row_and_the_key_is_sent_again() {
    let stage = one_core().await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let dying = stage.another_worker().await;
    let claims = stage.claim_as(dying.id()).await;
    assert_eq!(claims.len(), 1);
    assert_eq!(
        stage.value("select outcome from postmeter.attempt_ledger").await,
        "open",
        "the intent is there before any call"
    );
    stage.end_lease_of(dying.id()).await;
    assert_eq!(stage.worker.reap().await.unwrap(), 1);
    assert_eq!(stage.worker.reap().await.unwrap(), 0, "a dead worker is taken over once");
    stage.work_at("2024-09-18T11:12:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"]);
    assert_eq!(
        stage.column("select outcome || coalesce(' ' || code, '') from postmeter.attempt_ledger order by number").await,
        ["unknown worker_lost", "accepted"]
    );
    stage.close().await;
}

#[tokio::test]
async fn e11_poison_is_quarantined_after_bounded_deaths_and_its_neighbours_go_through() {
    let stage = one_core().await;
    stage.subscribe("globex", "444455556666").await;
    stage.record("other", "globex", "cores", "3", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let poison = stage.value("select delivery_id::text from postmeter.remittance where quantity = 1").await;
    for death in 1..=3 {
        let dying = stage.another_worker().await;
        let claims = if death == 1 {
            stage.claim_as(dying.id()).await
        } else {
            stage.claim_suspect_as(dying.id(), &poison).await
        };
        assert_eq!(claims.len(), if death == 1 { 2 } else { 1 }, "from the second time on it is claimed alone");
        stage.end_lease_of(dying.id()).await;
        assert_eq!(stage.worker.reap().await.unwrap(), 1);
        stage.at(&format!("2024-09-18T11:1{}:30Z", death)).await;
        stage.sql(&format!("update postmeter.later set due_at = due_at + interval '1 day' where delivery_id = {poison} and {death} = 1")).await;
        stage.worker.maintain().await.unwrap();
        if death == 1 {
            stage.worker.send().await.unwrap();
            stage
                .sql(&format!(
                    "update postmeter.later set due_at = '2024-09-18T11:11:00Z' where delivery_id = {poison}"
                ))
                .await;
            stage.worker.maintain().await.unwrap();
        }
    }
    assert_eq!(
        stage.column("select status || coalesce(' ' || reason, '') || ' ' || maybe_billed from postmeter.remittance order by quantity").await,
        ["held poison true", "accepted false"]
    );
    assert_eq!(
        stage.value("select d.tries::text from postmeter.delivery d where d.quantity = 3").await,
        "1",
        "a death in bad company is no try"
    );
}

#[tokio::test]
async fn e1_an_answer_lost_before_the_request_was_read_is_unknown_too() {
    let stage = one_core().await;
    stage.aws.add_fault(FaultRule::new(FaultKind::Reset).when(When::Before).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.value("select outcome from postmeter.attempt_ledger").await, "unknown");
    stage.work_at("2024-09-18T11:11:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    stage.close().await;
}
