//! Subscriptions end at any minute.

use serde_json::json;
use simulator::{AwsSettings, Subscription};
use tests::{Stage, t};

/// The marketplace knows when the customer's subscription ends.
fn they_end(stage: &Stage, until: &str) {
    let mut settings = stage.aws.settings();
    settings.aws = AwsSettings {
        subscriptions: Some(vec![Subscription {
            product_code: Some("prod-db".into()),
            customer_aws_account_id: Some("111122223333".into()),
            until: Some(t(until)),
            ..Subscription::default()
        }]),
        ..settings.aws
    };
    stage.aws.set_settings(settings);
}

/// A stage whose only subscription ends at 22:02, with a core that was used at 22:00 and folded at 22:01.
async fn ends_at_two_past() -> Stage {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension::default()).await;
    stage.subscribe_for("acme", "111122223333", "2024-01-01T00:00:00Z", Some("2024-09-18T22:02:00Z")).await;
    they_end(&stage, "2024-09-18T22:02:00Z");
    stage.at("2024-09-18T22:01:00Z").await;
    stage.use_cores("before", "1", "2024-09-18T22:00:30Z").await;
    stage.work().await;
    stage
}

const DEADLINE: &str = "select (max(deadline) at time zone 'UTC')::text from postmeter.remittance";

#[tokio::test]
async fn k9_the_last_hour_is_cut_after_the_grace_from_its_end_with_what_was_committed_by_then() {
    let stage = ends_at_two_past().await;
    assert_eq!(stage.value(DEADLINE).await, "2024-09-18 22:52:00", "an hour after its end, less the margin");
    stage.at("2024-09-18T22:04:00Z").await;
    stage.use_cores("committed late", "2", "2024-09-18T22:01:30Z").await;
    stage.work_at("2024-09-18T22:06:59Z").await;
    assert_eq!(stage.remittances().await, ["18T22 open"], "in its grace");
    stage.work_at("2024-09-18T22:07:00Z").await;
    assert_eq!(stage.accepted(), ["18T22 3"], "what was committed at 22:04 is in it");
    stage.close().await;
}

#[tokio::test]
async fn k9_a_backlog_holds_the_last_hour_until_a_lead_before_its_deadline_and_never_before_its_end() {
    let stage = ends_at_two_past().await;
    stage.at("2024-09-18T22:04:00Z").await;
    stage.use_cores("waits", "2", "2024-09-18T22:01:30Z").await;
    stage.at("2024-09-18T22:21:00Z").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 0, "an entry of that hour waits in the outbox");
    stage.at("2024-09-18T22:22:00Z").await;
    assert_eq!(stage.worker.cut().await.unwrap().forced, 1, "thirty minutes before 22:52");
    stage.work().await;
    assert_eq!(stage.accepted(), ["18T21 2", "18T22 1"]);
    stage.close().await;

    let stage = ends_at_two_past().await;
    stage.configure("lead = '2 hours'").await;
    stage.at("2024-09-18T22:01:59Z").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 0, "never before the end");
    stage.work_at("2024-09-18T22:02:00Z").await;
    assert_eq!(stage.accepted(), ["18T22 1"]);
    stage.close().await;
}

#[tokio::test]
async fn k9_with_a_successor_on_the_same_key_the_hour_waits_for_both() {
    for from in ["2024-09-18T22:02:00Z", "2024-09-18T22:20:00Z"] {
        let stage = ends_at_two_past().await;
        they_end(&stage, "2025-01-01T00:00:00Z");
        stage.subscribe_for("acme", "111122223333", from, None).await;
        stage.at("2024-09-18T22:40:00Z").await;
        stage.use_cores("of the successor", "4", "2024-09-18T22:30:00Z").await;
        stage.work().await;
        assert_eq!(stage.remittances().await, ["18T22 open"]);
        assert_eq!(stage.value(DEADLINE).await, "2024-09-19 21:50:00");
        assert_eq!(
            stage.value("select count(distinct subscription_id)::text from postmeter.allocation").await,
            "2",
            "each usage by the subscription of its moment"
        );
        stage.cut_at("2024-09-18T23:10:00Z").await;
        assert_eq!(stage.accepted(), ["18T22 5"], "one quantity for the hour");
        stage.close().await;
    }
}

#[tokio::test]
async fn k9_usage_is_resolved_by_its_moment_and_waits_held_for_a_subscription_that_has_it() {
    let stage = ends_at_two_past().await;
    stage.at("2024-09-18T22:04:00Z").await;
    stage.use_cores("after the end", "8", "2024-09-18T22:03:00Z").await;
    for _ in 0..3 {
        stage.work().await;
    }
    let held = "select concat_ws(' ', reason, quantity::text) from postmeter.held";
    assert_eq!(stage.column(held).await, ["no_subscription 8"], "and it is not tried over and over");
    assert_eq!(stage.value("select count(*)::text from postmeter.outbox").await, "0");
    they_end(&stage, "2024-09-18T22:05:00Z");
    stage.sql("update postmeter.subscription set valid_until = '2024-09-18T22:05Z'").await;
    stage.worker.reload().await.unwrap();
    stage.work_anew().await;
    assert_eq!(stage.column(held).await, [""; 0]);
    stage.work_at("2024-09-18T22:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T22 9"]);
    stage.close().await;
}

#[tokio::test]
async fn k9_what_an_ended_subscription_has_left_is_settled_with_its_last_hour() {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension { rounding: "down", ..tests::Dimension::default() }).await;
    stage.subscribe_for("acme", "111122223333", "2024-01-01T00:00:00Z", Some("2024-09-18T22:02:00Z")).await;
    stage.at("2024-09-18T20:30:00Z").await;
    stage.use_cores("some", "0.5", "2024-09-18T20:10:00Z").await;
    stage.cut_at("2024-09-18T21:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T20 nothing_due 0"]);
    stage.work_at("2024-09-18T22:01:00Z").await;
    stage.work_at("2024-09-18T22:07:00Z").await;
    assert_eq!(stage.accepted(), ["18T22 1"]);
    stage.close().await;
}

#[tokio::test]
async fn k9_what_a_subscription_that_was_ended_afterwards_has_left_goes_to_an_hour_that_was_not_sent() {
    let stage = Stage::bare().await;
    stage.configure("closing_window = null").await;
    stage.dimension(tests::Dimension { rounding: "down", ..tests::Dimension::default() }).await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-18T11:30:00Z").await;
    stage.use_cores("some", "1.5", "2024-09-18T11:10:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 1"]);
    stage.at("2024-09-18T14:00:00Z").await;
    stage.sql("update postmeter.subscription set valid_until = '2024-09-18T12:00Z'").await;
    stage.worker.reload().await.unwrap();
    stage.work().await;
    stage.cut_at("2024-09-18T14:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 1"]);
    assert_eq!(stage.value("select trim_scale(carried)::text from postmeter.balance").await, "-0.5");
    stage.close().await;
}

#[tokio::test]
async fn k9_two_identity_forms_in_one_hour_are_refused_though_one_ends_before_the_other_begins() {
    let stage = ends_at_two_past().await;
    let licence = json!({ "license_arn": "arn:aws:license-manager::294406891311:license:l-1",
                          "customer_aws_account_id": "111122223333" });
    stage
        .sql(&format!(
            "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select 'acme', 'db', id, '{licence}', '2024-09-18T22:02Z' from postmeter.destination"
        ))
        .await;
    let read = "update postmeter.subscription
                set buyer = 'aws/us-east-1/l-1/111122223333', buyer_account = '111122223333', identity_form = 'license'
                where buyer is null";
    assert_eq!(stage.refusal(read).await, "PM012 identity subscription_one_identity_form");
}
