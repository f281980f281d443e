//! K11: what is advised about what was refused, held, late or stranded works in the state that shows it.

use outbox::corrections::{Verb, correct};
use serde_json::json;
use tests::Stage;

use super::{ADA, balanced, identify, mistyped, product, recount, recount_late};

async fn advice(stage: &Stage) -> String {
    stage.value("select what_to_do from postmeter.dead_letter").await
}

/// What a decision about all that is stuck at the destination makes of it.
async fn decided(stage: &Stage, verb: Verb) -> (String, String) {
    let done = correct(&stage.db.database, verb, &json!({"destination": "aws"}), ADA, false).await.unwrap();
    balanced(stage).await;
    (done[0].after.clone(), done[0].note.clone().unwrap_or_default())
}

#[tokio::test]
async fn k11_refused_by_mistake_the_cause_is_mended_there_and_it_is_retried() {
    let stage = mistyped().await;
    assert_eq!(advice(&stage).await, "mend the cause, then retry; if it was the catalogue, mend that, then recount");
    super::only(&stage, &["prod-bd"], &["111122223333"]);
    assert_eq!(decided(&stage, Verb::Retry).await, ("due".to_owned(), String::new()));
    stage.work().await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    stage.close().await;
}

#[tokio::test]
async fn k11_once_the_catalogue_is_mended_retry_and_release_say_that_a_recount_is_meant() {
    let stage = mistyped().await;
    identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    let told = correct(&stage.db.database, Verb::Retry, &json!({"destination": "aws"}), ADA, true).await.unwrap();
    assert!(told[0].note.as_deref().unwrap().contains("recount counts it by the catalogue"), "{told:?}");
    recount(&stage, json!({"destination": "aws"})).await;
    stage.cut_at("2024-09-18T11:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    stage.close().await;
}

#[tokio::test]
async fn k11_too_late_for_its_own_hour_it_is_released_or_recounted_as_late_usage() {
    let stage = mistyped().await;
    stage.at("2024-09-19T11:30:00Z").await;
    assert!(advice(&stage).await.starts_with("release to another hour of its month (recount as late usage"));
    identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    recount_late(&stage, json!({"destination": "aws"})).await;
    stage.cut_at("2024-09-19T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["19T10 3"]);
    balanced(&stage).await;
    stage.close().await;

    let stage = mistyped().await;
    super::only(&stage, &["prod-bd"], &["111122223333"]);
    stage.at("2024-09-19T11:30:00Z").await;
    assert_eq!(decided(&stage, Verb::Release).await.0, "released");
    stage.cut_at("2024-09-19T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["19T10 3"]);
    stage.close().await;
}

#[tokio::test]
async fn k11_when_its_month_is_over_or_closed_the_advice_names_what_opens_a_way() {
    let stage = mistyped().await;
    super::only(&stage, &["prod-bd"], &["111122223333"]);
    stage.at("2024-10-01T10:30:00Z").await;
    assert!(advice(&stage).await.starts_with("write off, or set late_policy to part and release"));
    assert!(decided(&stage, Verb::Release).await.1.contains("set the destination's late_policy to part"));
    stage.configure("late_policy = 'part'").await;
    assert!(advice(&stage).await.starts_with("release to another hour"));
    assert_eq!(decided(&stage, Verb::Release).await.0, "released");
    stage.cut_at("2024-10-01T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["01T10 3"]);
    stage.close().await;

    let stage = mistyped().await;
    stage.at("2024-10-05T00:00:00Z").await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    assert!(advice(&stage).await.starts_with("write off, or reopen its month and set late_policy to part and release"));
    assert_eq!(decided(&stage, Verb::WriteOff).await.0, "written_off");
    stage.close().await;
}
