//! The same at Azure, whose key leaves out the plan, and at Google.

use serde_json::{Value, json};
use simulator::AzureResource;
use tests::{GoogleStage, Stage};

use super::{balanced, identify, recount};

fn resource(number: usize) -> String {
    crate::azure_sending::resource(number)
}

/// A stage whose org was entered with another resource and plan than Azure knows; 1.25 cores of ten o'clock were refused.
async fn refused_at_azure(known: Value, entered: Value) -> Stage {
    let stage = crate::azure_sending::many(1, false).await;
    crate::azure_sending::rules(&stage, |azure| {
        azure.resources = Some(vec![AzureResource {
            resource: known["resource_id"].as_str().unwrap().to_owned(),
            plan: known["plan_id"].as_str().map(ToOwned::to_owned),
            ..AzureResource::default()
        }]);
    });
    identify(&stage, "org0", &entered).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), Vec::<String>::new());
    identify(&stage, "org0", &known).await;
    stage
}

#[tokio::test]
async fn k5_azure_a_wrong_plan_is_counted_again_under_the_same_key_as_a_release() {
    let known = json!({ "resource_id": resource(0), "plan_id": "gold" });
    let stage = refused_at_azure(known, json!({ "resource_id": resource(0), "plan_id": "silver" })).await;
    let first = stage.value("select idempotency_key::text from postmeter.delivery").await;
    let done = recount(&stage, json!({"org": "org0"})).await;
    assert_eq!(done[0].after, "open", "{done:?}");
    stage.cut_at("2024-09-18T11:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1.25"]);
    assert_eq!(stage.value("select format('%s %s', releases, round) from postmeter.delivery").await, "1 2");
    assert_ne!(stage.value("select idempotency_key::text from postmeter.delivery").await, first);
    balanced(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k5_azure_a_wrong_resource_is_counted_again_under_the_right_one() {
    let known = json!({ "resource_id": resource(1), "plan_id": "gold" });
    let stage = refused_at_azure(known, json!({ "resource_id": resource(2), "plan_id": "gold" })).await;
    let done = recount(&stage, json!({"org": "org0"})).await;
    assert_eq!(done[0].after, "released", "{done:?}");
    stage.cut_at("2024-09-18T11:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1.25"]);
    assert!(stage.their_keys()[0].contains(&resource(1)));
    balanced(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k5_google_a_wrong_consumer_is_counted_again_under_the_right_one() {
    let stage = GoogleStage::at("2024-09-18T10:10:00Z").await;
    stage.say("project:right", "ACTIVE");
    identify(&stage, "acme", &json!({ "consumer_id": "project:wrong" })).await;
    stage.use_cores("usage", "3", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), Vec::<String>::new());
    identify(&stage, "acme", &json!({ "consumer_id": "project:right" })).await;
    let done = recount(&stage, json!({"org": "acme"})).await;
    assert_eq!(done.iter().map(|c| c.after.as_str()).collect::<Vec<_>>(), ["released"], "{done:?}");
    stage.cut_at("2024-09-18T11:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    balanced(&stage).await;
}
