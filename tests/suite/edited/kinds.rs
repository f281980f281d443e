//! Each kind of edit, while the hour is open.

use serde_json::json;
use tests::GoogleStage;

use super::*;
use crate::azure_sending;
use crate::shadow::stage_with_shadow;

#[tokio::test]
async fn k2_an_identity_edited_in_place_sends_the_open_hour_for_the_new_buyer() {
    let stage = folded().await;
    identify(&stage, "acme", &account("444455556666")).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 444455556666 10"]);
    until_no_mark(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k2_at_google_and_azure_too() {
    let stage = GoogleStage::at("2024-09-18T10:30:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    identify(&stage, "acme", &json!({ "consumer_id": "project:other" })).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 project:other 10"]);
    stage.close().await;

    let stage = azure_sending::many(2, false).await;
    stage.work().await;
    // one is another resource, one only another plan: the same key
    identify(&stage, "org0", &json!({ "resource_id": resource(7), "plan_id": "gold" })).await;
    identify(&stage, "org1", &json!({ "resource_id": resource(1), "plan_id": "silver" })).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(sent(&stage), [format!("18T10 {} 1.25", resource(1)), format!("18T10 {} 1.25", resource(7))]);
    let plans = "select string_agg(body::jsonb ->> 'planId', ', ' order by body) from postmeter.delivery where status = 'accepted'";
    assert_eq!(stage.value(plans).await, "silver, gold");
    stage.close().await;
}

#[tokio::test]
async fn k2_an_exemption_counts_from_its_begin_however_late_it_is_entered() {
    let stage = folded().await;
    stage.correct("less", "usage", "-4", "2024-09-18T10:06:00Z").await;
    stage.work().await;
    stage
        .sql("insert into postmeter.exemption (org, reason, valid_from) values ('acme', 'free', '2024-09-18T10:00Z')")
        .await;
    stage.work().await;
    assert_eq!(places(&stage).await, ["exempt 6"], "and its correction with it");
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert!(sent(&stage).is_empty());
    assert_eq!(stage.remittances().await, ["18T10 nothing_due 0"]);
    stage.close().await;
}

#[tokio::test]
async fn k2_an_end_at_a_minute_that_is_past_leaves_what_was_used_before_it() {
    let stage = folded().await;
    stage.use_cores("after", "3", "2024-09-18T10:25:00Z").await;
    stage.work().await;
    stage.sql("update postmeter.subscription set valid_until = '2024-09-18T10:20Z'").await;
    stage.work().await;
    assert_eq!(places(&stage).await, ["counted aws/us-east-1/prod-db/111122223333 cores 10", "held no_subscription 3"]);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 111122223333 10"]);
    // renewed after its last hour was sent: that usage is late
    stage.sql("update postmeter.subscription set valid_until = null").await;
    stage.work_anew().await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(sent(&stage), ["18T09 111122223333 3", "18T10 111122223333 10"]);
    stage.close().await;
}

#[tokio::test]
async fn k2_a_successor_takes_what_was_used_after_its_begin() {
    let stage = folded().await;
    stage.use_cores("after", "3", "2024-09-18T10:25:00Z").await;
    stage.work().await;
    stage
        .sql(&format!(
            "update postmeter.subscription set valid_until = '2024-09-18T10:20Z';
             insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select 'acme', 'db', id, '{}', '2024-09-18T10:20Z' from postmeter.destination",
            account("444455556666")
        ))
        .await;
    stage.worker.reload().await.unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 111122223333 10", "18T10 444455556666 3"]);
    stage.close().await;
}

#[tokio::test]
async fn k2_a_dimension_that_is_renamed_takes_the_open_hour_along() {
    let stage = folded().await;
    stage.sql("update postmeter.dimension set name = 'kernels'").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let dimensions: Vec<String> =
        stage.aws.record().iter().map(|a| format!("{} {}", a.key.dimension, a.quantity.normalize())).collect();
    assert_eq!(dimensions, ["kernels 10"]);
    stage.close().await;
}

#[tokio::test]
async fn k2_the_cut_goes_by_the_cover_as_it_stands() {
    let stage = folded().await;
    stage
        .sql("insert into postmeter.cover (subscription_id, metric, quantity) select id, 'cores', 4 from postmeter.subscription")
        .await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 111122223333 6"]);
    stage.use_cores("more", "5", "2024-09-18T11:05:00Z").await;
    stage.work().await;
    stage.sql("update postmeter.cover set quantity = 7").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 111122223333 6", "18T11 111122223333 2"]);
    stage.close().await;
}

#[tokio::test]
async fn k2_late_usage_in_an_open_hour_stays_where_its_buyer_can_be_sent() {
    let stage = folded().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.use_cores("late", "3", "2024-09-18T10:50:00Z").await;
    stage.work().await;
    assert_eq!(stage.remittances().await, ["18T09 open", "18T10 accepted 10"]);
    // an edit that changes nothing for it
    stage.sql("update postmeter.subscription set valid_until = '2024-09-18T12:00Z'").await;
    stage.work().await;
    until_no_mark(&stage).await;
    assert_eq!(stage.remittances().await, ["18T09 open", "18T10 accepted 10"]);
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(sent(&stage), ["18T09 111122223333 3", "18T10 111122223333 10"]);
    stage.close().await;
}

#[tokio::test]
async fn k2_a_shadow_counts_by_its_own_catalogue_as_it_stands() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    stage.correct("less", "usage", "-4", "2024-09-18T10:06:00Z").await;
    stage.work().await;
    stage
        .sql(&format!(
            "update postmeter.subscription s set identity = '{}'
             from postmeter.destination t where t.id = s.destination_id and t.shadow_of is not null",
            account("444455556666")
        ))
        .await;
    stage.worker.reload().await.unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let told = "select format('%s %s %s', r.destination, split_part(m.buyer, '/', 4), trim_scale(d.quantity))
                from postmeter.delivery d join postmeter.meter m on m.id = d.meter_id
                join postmeter.remittance r on r.delivery_id = d.id where d.quantity > 0 order by 1";
    assert_eq!(stage.column(told).await, ["aws 111122223333 6", "trial 444455556666 6"]);
    stage.close().await;
}
