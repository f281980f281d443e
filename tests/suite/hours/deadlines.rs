//! The deadline everywhere is what the catalogue says now.

use outbox::corrections::Verb;
use remittance::Outcome;
use serde_json::json;
use tests::{Stage, wait_until};
use uuid::Uuid;

use crate::people::decide;

/// A stage with a core of ten o'clock, under a subscription that ends at eleven; at half past ten.
async fn ends_at_eleven() -> Stage {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension::default()).await;
    stage.subscribe_for("acme", "111122223333", "2024-01-01T00:00:00Z", Some("2024-09-18T11:00:00Z")).await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "1", "2024-09-18T10:10:00Z").await;
    stage.work().await;
    stage
}

const DEADLINE: &str = "select (deadline at time zone 'UTC')::text from postmeter.remittance";

async fn renew(stage: &Stage) {
    stage.sql("update postmeter.subscription set valid_until = null").await;
}

/// Everything that maintenance does, until no mark is left.
async fn until_followed(stage: &Stage) {
    wait_until("every deadline has followed", async || {
        stage.worker.maintain().await.unwrap();
        stage.value("select count(*)::text from postmeter.deadline_change").await == "0"
    })
    .await;
}

#[tokio::test]
async fn k9_renewed_while_a_call_is_on_the_wire_it_goes_on_by_the_new_deadline() {
    let stage = ends_at_eleven().await;
    stage.cut_only("2024-09-18T11:06:00Z").await;
    let worker = Uuid::from_u128(9);
    let claims = stage.claim_as(worker).await;
    stage.at("2024-09-18T11:55:00Z").await;
    renew(&stage).await;
    stage.settle_as(worker, &claims, Outcome::Throttled { after: None }).await;
    stage.work_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    stage.close().await;
}

#[tokio::test]
async fn k9_what_expired_before_its_subscription_was_renewed_can_be_tried_again() {
    let stage = ends_at_eleven().await;
    stage.cut_only("2024-09-18T11:06:00Z").await;
    stage.work_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 expired 1"]);
    let refused = decide(&stage, Verb::Retry, json!({"org": "acme"})).await;
    assert!(refused[0].note.as_deref().unwrap().contains("deadline has passed"), "{refused:?}");
    renew(&stage).await;
    let retried = decide(&stage, Verb::Retry, json!({"org": "acme"})).await;
    assert_eq!(retried[0].after, "due", "{retried:?}");
    stage.work().await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    stage.close().await;
}

#[tokio::test]
async fn k9_a_later_subscription_behind_a_gap_leaves_the_first_ones_closing_window() {
    let stage = ends_at_eleven().await;
    assert_eq!(stage.value(DEADLINE).await, "2024-09-18 11:50:00");
    stage.subscribe_for("acme", "111122223333", "2024-09-18T15:00:00Z", None).await;
    until_followed(&stage).await;
    assert_eq!(stage.value(DEADLINE).await, "2024-09-18 11:50:00", "nobody is subscribed from eleven to three");
    // a second one in between closes the gap
    stage.subscribe_for("acme", "111122223333", "2024-09-18T11:00:00Z", Some("2024-09-18T15:00:00Z")).await;
    until_followed(&stage).await;
    assert_eq!(stage.value(DEADLINE).await, "2024-09-19 09:50:00");
    let begins =
        "update postmeter.subscription set valid_from = '2024-09-18T12:00Z' where valid_until = '2024-09-18T15:00Z'";
    stage.sql(begins).await;
    until_followed(&stage).await;
    assert_eq!(stage.value(DEADLINE).await, "2024-09-18 11:50:00", "a begin that moves opens it again");
    stage.work_at("2024-09-18T11:06:00Z").await;
    stage.close().await;
}

#[tokio::test]
async fn k9_deadlines_follow_a_destinations_limits() {
    for (set, deadline) in [
        ("age_limit = '12 hours'", "2024-09-18 21:50:00"),
        ("age_limit = '48 hours'", "2024-09-20 09:50:00"),
        ("margin = '1 hour'", "2024-09-19 09:00:00"),
        ("margin = '1 hour', age_limit = '1 hour'", "2024-09-18 10:00:00"),
        ("closing_window = '30 minutes'", "2024-09-19 09:50:00"),
    ] {
        let stage = Stage::new().await;
        stage.at("2024-09-18T10:30:00Z").await;
        stage.use_cores("one", "1", "2024-09-18T10:10:00Z").await;
        stage.cut_only("2024-09-18T11:10:00Z").await;
        assert_eq!(stage.value(DEADLINE).await, "2024-09-19 09:50:00");
        stage.configure(set).await;
        until_followed(&stage).await;
        assert_eq!(stage.value(DEADLINE).await, deadline, "{set}");
        let queued = "select (deadline at time zone 'UTC')::text from postmeter.due";
        assert_eq!(stage.value(queued).await, deadline, "in the queue, {set}");
    }
    let stage = ends_at_eleven().await;
    stage.configure("closing_window = '30 minutes', month_cutoff = null").await;
    // before anybody has moved it, a claim goes by it
    stage.cut_only("2024-09-18T11:06:00Z").await;
    stage.at("2024-09-18T11:25:00Z").await;
    while stage.worker.send().await.unwrap() > 0 {}
    assert_eq!(stage.remittances().await, ["18T10 expired 1"]);
    stage.close().await;
}

#[tokio::test]
async fn k9_what_waits_to_be_tried_again_is_tried_a_last_time_before_a_deadline_that_became_earlier() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let worker = Uuid::from_u128(9);
    let claims = stage.claim_as(worker).await;
    let after = Some(std::time::Duration::from_secs(7200));
    stage.settle_as(worker, &claims, Outcome::Throttled { after }).await;
    let again = "select (due_at at time zone 'UTC')::text from postmeter.later";
    assert_eq!(stage.value(again).await, "2024-09-18 13:10:00");
    stage.sql("update postmeter.subscription set valid_until = '2024-09-18T11:00Z'").await;
    until_followed(&stage).await;
    let again = stage.value(again).await;
    assert!(("2024-09-18 11:49:20".."2024-09-18 11:49:41").contains(&again.as_str()), "{again}");
    stage.work_at("2024-09-18T11:49:41Z").await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    stage.close().await;
}

#[tokio::test]
async fn k9_release_as_a_part_needs_a_subscription_in_whose_hour_it_can_be_one() {
    let stage = ends_at_eleven().await;
    stage.configure("late_policy = 'part'").await;
    stage.cut_only("2024-09-18T11:06:00Z").await;
    stage.work_at("2024-09-18T12:10:00Z").await;
    let refused = decide(&stage, Verb::Release, json!({"org": "acme"})).await;
    assert_eq!(refused[0].after, "expired", "{refused:?}");
    assert!(refused[0].note.as_deref().unwrap().contains("renew the subscription first"), "{refused:?}");
    // what it says to do works; an hour of the month is free then
    stage.subscribe_for("acme", "111122223333", "2024-09-18T12:00:00Z", None).await;
    let released = decide(&stage, Verb::Release, json!({"org": "acme"})).await;
    assert_eq!(released[0].after, "released", "{released:?}");
    stage.cut_at("2024-09-18T13:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T12 1"]);
    stage.close().await;
}

#[tokio::test]
async fn k9_what_an_hour_deferred_is_in_unremitted() {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension::default()).await;
    stage.subscribe_for("acme", "111122223333", "2024-01-01T00:00:00Z", None).await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "1", "2024-09-18T10:10:00Z").await;
    stage.work().await;
    // its own hour can no longer be sent when it is cut: it is deferred to another one of the month
    stage.at("2024-09-19T10:05:00Z").await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    let unremitted = "select concat_ws(' ', org, trim_scale(quantity), unit, status, reason) from postmeter.unremitted";
    assert_eq!(stage.remittances().await, ["18T10 nothing_due 0"]);
    assert_eq!(stage.column(unremitted).await, ["acme 1 billing released"]);
    stage.work().await;
    stage.cut_at("2024-09-19T10:20:00Z").await;
    assert_eq!(stage.column(unremitted).await, [""; 0]);
    stage.close().await;
}
