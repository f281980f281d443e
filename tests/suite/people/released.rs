//! Released quantity is billed with another hour, once.

use outbox::corrections::Verb;
use serde_json::json;
use tests::Stage;

use super::{decide, decisions, refuse_all, rejected};

#[tokio::test]
async fn e9_released_quantity_is_billed_with_another_hour_once() {
    let stage = rejected().await;
    let changes = decide(&stage, Verb::Release, json!({"destination": "aws", "status": "rejected"})).await;
    assert_eq!(changes.len(), 2);
    assert!(decide(&stage, Verb::Release, json!({"all": true})).await.is_empty(), "twice changes nothing more");
    assert_eq!(decisions(&stage).await.len(), 2);
    assert_eq!(
        stage.value("select count(*)::text from postmeter.decision where target_delivery_id is not null").await,
        "2"
    );
    for time in ["2024-09-18T11:30:00Z", "2024-09-18T12:10:00Z", "2024-09-18T13:10:00Z"] {
        stage.cut_at(time).await;
    }
    let of = |customer: &str| {
        stage
            .aws
            .record()
            .iter()
            .filter(|a| a.key.customer == customer)
            .map(|a| a.quantity.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!((of("111122223333"), of("444455556666")), (vec!["3".to_owned()], vec!["4".to_owned()]));
    assert_eq!(
        stage.column("select status from postmeter.remittance where to_char(hour, 'HH24') = '10'").await,
        ["released", "released"],
        "its own hour is not used again"
    );
    stage.close().await;
}

#[tokio::test]
async fn e9_released_quantity_and_new_usage_of_the_hour_are_billed_together_and_rounded_once() {
    let stage = Stage::new().await;
    refuse_all(&stage, true);
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("a", "2.5", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    refuse_all(&stage, false);
    stage.use_cores("b", "0.5", "2024-09-18T10:20:00Z").await;
    decide(&stage, Verb::Release, json!({"org": "acme"})).await;
    stage.cut_at("2024-09-18T11:30:00Z").await;
    let billed: i64 = stage.aws.record().iter().map(|a| a.quantity.to_string().parse::<i64>().unwrap()).sum();
    assert_eq!(billed, 3, "2.5 and 0.5: {:?}", stage.accepted());
    stage.close().await;
}

/// Usage of September's last hour was rejected; the first of October has come, and September's window is over.
async fn rejected_in_september() -> Stage {
    let stage = Stage::new().await;
    refuse_all(&stage, true);
    stage.at("2024-09-30T23:30:00Z").await;
    stage.use_cores("september", "2.5", "2024-09-30T23:10:00Z").await;
    stage.cut_at("2024-10-01T00:10:00Z").await;
    refuse_all(&stage, false);
    assert_eq!(stage.remittances().await, ["30T23 rejected 3"]);
    stage.at("2024-10-01T10:30:00Z").await;
    stage
}

#[tokio::test]
async fn e9_when_no_hour_of_its_month_can_take_it_release_says_so_and_changes_nothing() {
    let stage = rejected_in_september().await;
    let changes = decide(&stage, Verb::Release, json!({"org": "acme"})).await;
    assert_eq!(changes[0].after, "rejected");
    assert!(changes[0].note.as_deref().unwrap().contains("no hour of its month"), "{changes:?}");
    stage.close().await;
}

#[tokio::test]
async fn e9_by_policy_it_is_released_into_the_running_month_as_a_part_once() {
    let stage = rejected_in_september().await;
    stage.configure("late_policy = 'part'").await;
    let changes = decide(&stage, Verb::Release, json!({"org": "acme"})).await;
    assert_eq!(changes[0].after, "released");
    stage.use_cores("october", "0.5", "2024-10-01T10:20:00Z").await;
    for time in ["2024-10-01T11:10:00Z", "2024-10-01T12:10:00Z", "2024-10-01T13:10:00Z"] {
        stage.cut_at(time).await;
    }
    assert_eq!(stage.accepted(), ["01T10 4"], "three of September and one of October, in one quantity");
    assert_eq!(
        stage
            .column("select concat_ws(' ', month, recorded, accepted, carried) from postmeter.balance order by month")
            .await,
        ["2024-09-01 2.5 3 -0.5", "2024-10-01 0.5 1 -0.5"]
    );
    stage.close().await;
}

#[tokio::test]
async fn e9_a_release_while_the_hour_is_cut_again_bills_each_unit_once() {
    let stage = rejected().await;
    // a release in one session, a cut in another, on one meter: whichever is first
    stage.use_cores("more", "2", "2024-09-18T11:05:00Z").await;
    stage.fold().await;
    stage.at("2024-09-18T12:10:00Z").await;
    let worker = stage.another_worker().await;
    stage.sql("begin; select postmeter.release('{\"org\": \"acme\"}', 'ada', 'moved', false)").await;
    let cutting = tokio::spawn(async move { worker.cut().await });
    let watch = stage.db.connect().await;
    tests::until_locked(&watch, 1, || cutting.is_finished()).await;
    stage.sql("commit").await;
    cutting.await.unwrap().unwrap();
    stage.cut_at("2024-09-18T12:30:00Z").await;
    stage.cut_at("2024-09-18T13:10:00Z").await;
    let acme: i64 = stage
        .aws
        .record()
        .iter()
        .filter(|a| a.key.customer == "111122223333")
        .map(|a| a.quantity.to_string().parse::<i64>().unwrap())
        .sum();
    assert_eq!(acme, 5, "{:?}", stage.accepted());
    stage.close().await;
}

#[tokio::test]
async fn e9_what_is_held_beyond_their_type_can_be_released_or_written_off() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("huge", "2147483648", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let retried = decide(&stage, Verb::Retry, json!({"reason": "quantity_out_of_range"})).await;
    assert!(retried[0].note.as_deref().unwrap().contains("never frozen"), "{retried:?}");
    // half of it was a mistake: corrected, released, billed
    stage.correct("less", "huge", "-1147483648", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    decide(&stage, Verb::Release, json!({"reason": "quantity_out_of_range"})).await;
    stage.cut_at("2024-09-18T11:30:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.aws.record().iter().map(|a| a.quantity.to_string()).collect::<Vec<_>>(), ["1000000000"]);
    stage.close().await;
}
