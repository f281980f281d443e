//! Cuts wait for marks, and not beyond a lead before their deadline.

use serde_json::json;

use super::*;

/// A subscription that passes to another buyer; the worker knows whose it is, and has returned nothing yet.
async fn moved() -> Stage {
    let stage = folded().await;
    identify(&stage, "acme", &account("444455556666")).await;
    stage.use_cores("new", "2", "2024-09-18T10:40:00Z").await;
    stage.fold().await;
    stage.at("2024-09-18T11:10:00Z").await;
    stage
}

#[tokio::test]
async fn k2_the_cut_waits_for_a_mark() {
    let stage = moved().await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 0, "what belongs to it may still be elsewhere");
    stage.work().await;
    assert_eq!(sent(&stage), ["18T10 444455556666 12"]);
    stage.close().await;
}

#[tokio::test]
async fn k2_a_lead_before_its_deadline_the_cut_returns_the_marked_and_counts_the_rest() {
    let stage = moved().await;
    stage.sql("update postmeter.destination set age_limit = '90 minutes', margin = '0', lead = '1 hour'").await;
    stage.worker.reload().await.unwrap();
    outbox::maintain::move_deadlines(&stage.db.database).await.unwrap();
    let cut = stage.worker.cut().await.unwrap();
    assert_eq!((cut.cut, cut.forced), (2, 2), "and says so");
    assert_eq!(stage.remittances().await, ["18T10 nothing_due 0", "18T10 due 2"]);
    stage.work().await;
    // what came back is late usage of its new buyer
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 444455556666 2", "18T11 444455556666 10"]);
    stage.close().await;
}

#[tokio::test]
async fn k2_an_identity_that_nobody_has_read_moves_nothing_before_its_bound() {
    let stage = folded().await;
    let identity = json!({ "product_code": "prod-db", "customer_aws_account_id": "444455556666" });
    stage.sql(&format!("update postmeter.subscription set identity = '{identity}'")).await;
    assert_eq!(return_marked(&stage.db.database).await.unwrap().usages, 0);
    stage.at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 0);
    stage.at("2024-09-19T10:00:00Z").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    assert_eq!(stage.remittances().await, ["18T10 nothing_due 0"], "nothing is billed to a buyer who is not theirs");
    assert_eq!(places(&stage).await, ["waiting 10"]);
    stage.close().await;
}
