//! Corrections of usage that a person gave up.

use remittance::Outcome;
use tests::Stage;

use super::{corrections, counted, over_billed};

#[tokio::test]
async fn k1_of_usage_that_was_written_off_it_has_no_effect() {
    let stage = Stage::bare().await;
    stage.subscribe("acme", "111122223333").await;
    stage.sql("insert into postmeter.cover (subscription_id, metric, quantity) select id, 'cores', 5 from postmeter.subscription").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "100", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    stage.sql("select * from postmeter.write_off_held('{\"org\": \"acme\"}', 'ada', 'a test', false)").await;
    stage.dimension(tests::Dimension::default()).await;
    stage.worker.reload().await.unwrap();
    stage.use_cores("real", "45", "2024-09-18T10:06:00Z").await;
    stage.correct("less", "usage", "-60", "2024-09-18T10:07:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 40"]);
    assert_eq!(counted(&stage).await, ["used 45, covered 5, billed 40"]);
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: written_off, none"]);
    assert_eq!(
        stage.column("select format('%s: written off %s, allocated %s', recorded, written_off, allocated) from postmeter.usage_balance").await,
        ["85: written off 40, allocated 45"]
    );
    stage.close().await;
}

#[tokio::test]
async fn k1_held_usage_is_written_off_with_its_corrections() {
    let stage = Stage::bare().await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "100", "2024-09-18T10:05:00Z").await;
    stage.correct("less", "usage", "-60", "2024-09-18T10:07:00Z").await;
    stage.work().await;
    let usage = stage.value("select id::text from postmeter.usage where event_id = 'usage'").await;
    assert_eq!(
        stage
            .column(&format!("select quantity::text from postmeter.write_off_held('{{\"usage\": \"{usage}\"}}', 'ada', 'a test', false)"))
            .await,
        ["100", "-60"]
    );
    stage.dimension(tests::Dimension::default()).await;
    stage.worker.reload().await.unwrap();
    stage.use_cores("real", "40", "2024-09-18T10:06:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 40"]);
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: written_off, none"]);
    stage.close().await;
}

/// A stage on which a hundred cores of 10:00 were refused for good.
async fn refused() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "100", "2024-09-18T10:05:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let worker = stage.worker.id();
    let claims = stage.claim_as(worker).await;
    stage.settle_as(worker, &claims, Outcome::Rejected { code: "InvalidProductCode".to_owned() }).await;
    assert_eq!(stage.remittances().await, ["18T10 rejected 100"]);
    stage
}

const WRITE_OFF: &str =
    "select * from postmeter.write_off('{\"status\": \"rejected\", \"destination\": \"aws\"}', 'ada', 'agreed', false)";

#[tokio::test]
async fn k1_of_usage_whose_remittance_was_written_off_it_has_no_effect() {
    let stage = refused().await;
    stage.sql(WRITE_OFF).await;
    stage.correct("less", "usage", "-60", "2024-09-18T11:05:00Z").await;
    stage.use_cores("real", "40", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 40"]);
    assert!(over_billed(&stage).await.is_empty());
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: written_off, none"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_a_remittance_is_written_off_without_what_corrections_took_from_it() {
    let stage = refused().await;
    stage.correct("less", "usage", "-60", "2024-09-18T11:05:00Z").await;
    stage.work().await;
    // its usage is billed as long as nobody has given that up
    stage.use_cores("early", "20", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(over_billed(&stage).await, ["2024-09 40"]);
    stage.sql(WRITE_OFF).await;
    assert!(over_billed(&stage).await.is_empty());
    stage.use_cores("real", "20", "2024-09-18T12:05:00Z").await;
    stage.cut_at("2024-09-18T13:10:00Z").await;
    // twenty of eleven and twenty of twelve: what was given up pays for none of them
    let sent: i64 = stage.accepted().iter().map(|line| line.split(' ').nth(1).unwrap().parse::<i64>().unwrap()).sum();
    assert_eq!(sent, 40, "{:?}", stage.accepted());
    assert_eq!(
        stage.column("select format('%s: written off %s, accepted %s, carried %s', recorded, written_off, accepted, carried) from postmeter.balance").await,
        ["80: written off 40, accepted 40, carried 0"]
    );
    stage.close().await;
}

#[tokio::test]
async fn k1_of_released_usage_it_lowers_what_goes_to_another_hour() {
    let stage = refused().await;
    stage.correct("less", "usage", "-60", "2024-09-18T11:05:00Z").await;
    stage.work().await;
    stage.sql("select * from postmeter.release('{\"status\": \"rejected\", \"destination\": \"aws\"}', 'ada', 'again', false)").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(counted(&stage).await, ["used 40, covered 0, billed 40"]);
    let sent: Vec<String> = stage.accepted().iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(sent, ["40"]);
    stage.close().await;
}
