//! E: late evidence, and who may take over from whom.

use remittance::Outcome;
use tests::{Stage, q};

/// Nine cores that were sent once; nobody knows whether they arrived, and they may be sent again. No worker died.
async fn unknown() -> (Stage, Vec<outbox::claim::Claim>) {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let claims = stage.claim_as(stage.worker.id()).await;
    assert_eq!(claims.len(), 1);
    stage.settle_as(stage.worker.id(), &claims, Outcome::Unknown { code: "timeout".to_owned() }).await;
    stage.at("2024-09-18T11:20:00Z").await;
    outbox::maintain::promote(&stage.db.database, 10).await.unwrap();
    assert_eq!(
        stage.value("select status || ' ' || deaths || ' ' || maybe_billed from postmeter.delivery").await,
        "due 0 true"
    );
    (stage, claims)
}

#[tokio::test]
async fn e3_a_claim_leaves_what_has_unread_late_evidence_to_the_review() {
    let (stage, claims) = unknown().await;
    stage.settle_as(stage.worker.id(), &claims, Outcome::Accepted).await;
    assert_eq!(stage.claim_as(stage.worker.id()).await, [], "what they said is read before it is sent again");
    assert_eq!(outbox::maintain::review(&stage.db.database).await.unwrap(), 1);
    assert_eq!(stage.remittances().await, ["18T10 accepted 9"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.due").await, "0");
}

#[tokio::test]
async fn e3_a_late_conflict_is_a_conflict_with_what_they_hold() {
    let (stage, claims) = unknown().await;
    stage.settle_as(stage.worker.id(), &claims, Outcome::Conflict { shown: Some(q("7")) }).await;
    assert_eq!(outbox::maintain::review(&stage.db.database).await.unwrap(), 1);
    let status = "select status || ' ' || trim_scale(shown_quantity) || ' ' || maybe_billed from postmeter.delivery";
    assert_eq!(stage.value(status).await, "conflict 7 false");
    assert_eq!(stage.claim_as(stage.worker.id()).await, [], "a conflict is not sent again");
    let balance = "select accepted || ' ' || conflict from postmeter.balance";
    assert_eq!(stage.value(balance).await, "7 2", "accepted is what they hold, conflict the difference");
}

/// A worker of another name whose lease ended an hour ago.
async fn dead(stage: &Stage) {
    let worker = stage.another_worker().await;
    stage.end_lease_of(worker.id()).await;
}

#[tokio::test]
async fn e6_after_a_restart_of_the_server_leases_count_from_its_return() {
    let stage = Stage::new().await;
    dead(&stage).await;
    // as if the server had returned within the lease
    stage.sql("update postmeter.worker set lease = now() - pg_postmaster_start_time() + interval '1 hour' where lease_until < now()").await;
    stage.sql("update postmeter.worker set lease = '1 second' where lease_until > now()").await;
    assert_eq!(stage.worker.reap().await.unwrap(), 0, "its worker may hold answers that it could not write down");
    stage.sql("update postmeter.worker set lease = '1 second' where lease_until < now()").await;
    assert_eq!(stage.worker.reap().await.unwrap(), 1);
}

#[tokio::test]
async fn e6_a_worker_that_is_not_well_itself_takes_over_from_nobody() {
    let stage = Stage::new().await;
    dead(&stage).await;
    let ours = stage.worker.id();
    let set = async |what: &str| stage.sql(&format!("update postmeter.worker set {what} where id = '{ours}'")).await;
    set("unbroken_since = clock_timestamp(), lease = '1 hour'").await;
    assert_eq!(stage.worker.reap().await.unwrap(), 0, "the database was away from it a moment ago");
    set("unbroken_since = clock_timestamp() - interval '2 hours', lease_until = clock_timestamp() - interval '1 second'").await;
    assert_eq!(stage.worker.reap().await.unwrap(), 0, "its own lease is over");
    set("lease_until = clock_timestamp() + interval '1 hour'").await;
    assert_eq!(stage.worker.reap().await.unwrap(), 1);
}
