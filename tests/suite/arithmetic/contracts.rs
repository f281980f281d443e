//! Subscriptions that begin, end and change on the hour, each from recording to the marketplace's own record.

use serde_json::json;
use tests::{Dimension, Stage, q, t};

use super::cover::cover;
use super::{billed, hour};

/// Ends the subscription of acme that runs.
pub(super) async fn end(stage: &Stage, until: &str) {
    stage
        .sql(&format!(
            "update postmeter.subscription set valid_until = '{until}' where org = 'acme' and valid_until is null"
        ))
        .await;
}

/// Subscribes acme by an identity of the test's choice from an hour on; returns nothing until the worker has read it.
pub(super) async fn subscribe_as(stage: &Stage, identity: serde_json::Value, account: Option<&str>, from: &str) {
    stage
        .db
        .client
        .execute(
            "insert into postmeter.subscription (org, product, account, destination_id, identity, valid_from)
             select 'acme', 'db', $1, id, $2, $3 from postmeter.destination",
            &[&account, &identity, &t(from)],
        )
        .await
        .unwrap();
    stage.worker.reload().await.unwrap();
}

/// What they hold, as `customer hour quantity`.
pub(super) fn held_by_them(stage: &Stage) -> Vec<String> {
    let mut record = stage.aws.record();
    record.sort_by_key(|accepted| accepted.key.hour);
    record
        .iter()
        .map(|a| format!("{} {} {}", a.key.customer, a.key.hour.strftime("%dT%H"), a.quantity.normalize()))
        .collect()
}

#[tokio::test]
async fn b7_two_contracts_of_one_org_on_one_account_add_up() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    let buyer = json!({"product_code": "prod-db", "customer_aws_account_id": "111122223333"});
    for account in ["first", "second"] {
        subscribe_as(&stage, buyer.clone(), Some(account), "2024-01-01T00:00:00Z").await;
    }
    cover(&stage, "acme", "cores", 4).await;
    stage.at("2024-09-18T10:10:00Z").await;
    for (account, quantity) in [("first", "7"), ("second", "2.5")] {
        let time = t("2024-09-18T10:05:00Z");
        let mut usage = outbox::NewUsage::new("billing", account, "acme", "db", "cores", q(quantity), time);
        usage.account = Some(account.to_owned());
        stage.record_as(&usage).await;
    }
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 2"], "9.5 used, 4 and 4 covered");
    stage.close().await;
}

#[tokio::test]
async fn b8_a_renewal_that_covers_more_acts_on_the_whole_month() {
    let stage = Stage::new().await;
    cover(&stage, "acme", "cores", 5).await;
    hour(&stage, 10, "12").await;
    end(&stage, "2024-09-18T11:00:00Z").await;
    stage.subscribe_for("acme", "111122223333", "2024-09-18T11:00:00Z", None).await;
    cover(&stage, "acme", "cores", 10).await;
    stage.sql("update postmeter.cover set quantity = 5 where subscription_id = (select min(id) from postmeter.subscription)").await;
    hour(&stage, 11, "4").await;
    hour(&stage, 12, "3").await;
    assert_eq!(billed(&stage).await, ["7", "0", "2"], "19 used, 10 covered, 7 billed before");
    stage.close().await;
}

#[tokio::test]
async fn b9_a_renewal_that_covers_less_acts_on_later_usage_only() {
    let stage = Stage::new().await;
    cover(&stage, "acme", "cores", 10).await;
    hour(&stage, 10, "8").await;
    end(&stage, "2024-09-18T11:00:00Z").await;
    stage.subscribe_for("acme", "111122223333", "2024-09-18T11:00:00Z", None).await;
    let less = "insert into postmeter.cover (subscription_id, metric, quantity)
                select max(id), 'cores', 5 from postmeter.subscription";
    stage.sql(less).await;
    hour(&stage, 11, "4").await;
    assert_eq!(billed(&stage).await, ["0", "4"], "what was covered stays covered, and five cover no more");
    stage.close().await;
}

#[tokio::test]
async fn b9_a_free_first_month_ends_at_its_hour_and_late_usage_of_it_stays_free() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.subscribe_for("acme", "111122223333", "2024-09-10T00:00:00Z", None).await;
    stage
        .sql(
            "insert into postmeter.exemption (org, product, reason, valid_from, valid_until)
             values ('acme', 'db', 'first month free', '2024-09-10T00:00Z', '2024-10-10T00:00Z')",
        )
        .await;
    stage.at("2024-10-09T23:50:00Z").await;
    stage.use_cores("free", "3", "2024-10-09T23:40:00Z").await;
    stage.cut_at("2024-10-10T00:10:00Z").await;
    stage.use_cores("paid", "2", "2024-10-10T00:05:00Z").await;
    stage.use_cores("late, free", "5", "2024-10-09T23:45:00Z").await;
    stage.cut_at("2024-10-10T01:10:00Z").await;
    assert_eq!(stage.accepted(), ["10T00 2"]);
    let exempt = "select concat_ws(' ', exempt, allocated, difference) from postmeter.usage_balance";
    assert_eq!(stage.value(exempt).await, "8 2 0");
    stage.close().await;
}

#[tokio::test]
async fn b9_usage_after_a_subscription_ended_is_held_and_usage_before_it_is_billed() {
    let stage = Stage::new().await;
    end(&stage, "2024-09-18T11:00:00Z").await;
    stage.at("2024-09-18T11:02:00Z").await;
    stage.use_cores("before", "2", "2024-09-18T10:59:59Z").await;
    stage.use_cores("after", "3", "2024-09-18T11:00:00Z").await;
    stage.cut_at("2024-09-18T11:15:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 2"], "within an hour of its end");
    let held = "select reason || ' ' || quantity from postmeter.held";
    assert_eq!(stage.column(held).await, ["no_subscription 3"]);
    stage.close().await;
}

#[tokio::test]
async fn b10_ambiguous_usage_is_held_and_billed_when_one_subscription_is_left() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    for (account, customer) in [("eu", "777700000001"), ("us", "777700000002")] {
        let buyer = json!({"product_code": "prod-db", "customer_aws_account_id": customer});
        subscribe_as(&stage, buyer, Some(account), "2024-01-01T00:00:00Z").await;
    }
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("whose", "3", "2024-09-18T10:10:00Z").await;
    stage.work().await;
    assert_eq!(stage.value("select reason from postmeter.held").await, "ambiguous_subscription");
    stage.sql("update postmeter.subscription set valid_until = '2024-09-18T10:00Z' where account = 'us'").await;
    stage.at("2024-09-18T11:04:00Z").await;
    stage.work_anew().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(held_by_them(&stage), ["777700000001 18T10 3"]);
    stage.close().await;
}

#[tokio::test]
async fn b12_an_account_that_changes_on_the_hour_is_billed_up_to_it_and_the_next_from_it() {
    let stage = Stage::new().await;
    end(&stage, "2024-09-18T11:00:00Z").await;
    stage.subscribe_for("acme", "444455556666", "2024-09-18T11:00:00Z", None).await;
    stage.at("2024-09-18T11:02:00Z").await;
    stage.use_cores("old", "1.5", "2024-09-18T10:59:59.999Z").await;
    stage.use_cores("new", "1.5", "2024-09-18T11:00:00Z").await;
    stage.cut_at("2024-09-18T11:15:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(held_by_them(&stage), ["111122223333 18T10 2", "444455556666 18T11 1"], "three together: one contract");
    stage.close().await;
}

#[tokio::test]
async fn b12_a_licence_that_follows_a_product_code_on_the_hour_is_another_key() {
    let stage = Stage::new().await;
    end(&stage, "2024-09-18T11:00:00Z").await;
    let licence = json!({
        "license_arn": "arn:aws:license-manager::123456789012:license:l-0123456789abcdef0123456789abcdef",
        "customer_aws_account_id": "111122223333",
    });
    subscribe_as(&stage, licence, None, "2024-09-18T11:00:00Z").await;
    stage.at("2024-09-18T11:02:00Z").await;
    stage.use_cores("old", "2", "2024-09-18T10:59:59.999Z").await;
    stage.use_cores("new", "3", "2024-09-18T11:00:00Z").await;
    stage.cut_at("2024-09-18T11:15:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(held_by_them(&stage), ["111122223333 18T10 2", "111122223333 18T11 3"]);
    assert_eq!(stage.value("select count(distinct buyer)::text from postmeter.remittance").await, "2");
    stage.close().await;
}
