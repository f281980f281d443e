//! The month's end: on time, and in its own month.

use simulator::{FaultKind, FaultRule};
use tests::Stage;

#[tokio::test]
async fn c6_usage_of_the_months_last_hour_is_sent_before_the_cut_off_also_when_the_first_try_fails() {
    for fault in [FaultRule::new(FaultKind::Status).status(503), FaultRule::new(FaultKind::LoseRequest)] {
        let stage = Stage::new().await;
        stage.at("2024-09-30T23:30:00Z").await;
        stage.use_cores("last", "2", "2024-09-30T23:20:00Z").await;
        stage.work().await;
        assert_eq!(
            stage.value("select (deadline at time zone 'UTC')::text from postmeter.remittance").await,
            "2024-10-01 05:50:00",
            "the cut-off six hours after the month, less the margin"
        );
        stage.aws.add_fault(fault.times(1)).unwrap();
        stage.work_at("2024-10-01T00:05:00Z").await;
        assert!(stage.accepted().is_empty());
        assert_eq!(stage.remittances().await, ["30T23 due 2"]);
        stage.work_at("2024-10-01T00:06:00Z").await;
        assert_eq!(stage.accepted(), ["30T23 2"]);
        stage.close().await;
    }
}

#[tokio::test]
async fn c6_a_remainder_is_settled_before_the_cut_off_also_when_the_first_try_fails() {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension { rounding: "down", ..tests::Dimension::default() }).await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-30T22:30:00Z").await;
    stage.use_cores("some", "0.5", "2024-09-30T22:20:00Z").await;
    // nobody works until an hour into the new month
    stage.work_at("2024-10-01T01:00:00Z").await;
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(500).times(1)).unwrap();
    stage.cut_at("2024-10-01T01:10:00Z").await;
    stage.cut_at("2024-10-01T01:30:00Z").await;
    assert_eq!(stage.value("select accepted || ' ' || carried from postmeter.balance").await, "1 -0.5");
    stage.close().await;
}

#[tokio::test]
async fn c8_usage_of_the_old_month_committed_in_the_new_one_leaves_the_new_ones_cover_and_rounding_alone() {
    let stage = Stage::new().await;
    stage.sql("insert into postmeter.cover select id, 'cores', 4 from postmeter.subscription").await;
    stage.at("2024-09-30T23:30:00Z").await;
    stage.use_cores("september", "10", "2024-09-30T23:10:00Z").await;
    stage.cut_at("2024-10-01T00:10:00Z").await;
    assert_eq!(stage.accepted(), ["30T23 6"]);
    stage.at("2024-10-01T00:20:00Z").await;
    stage.use_cores("ten to midnight", "1.5", "2024-09-30T23:50:00Z").await;
    stage.use_cores("october", "4", "2024-10-01T00:15:00Z").await;
    stage.cut_at("2024-10-01T01:10:00Z").await;
    assert_eq!(stage.remittances().await, ["30T22 accepted 2", "30T23 accepted 6", "01T00 nothing_due 0"]);
    assert_eq!(
        stage.column("select month || ' ' || recorded || ' ' || covered || ' ' || accepted from postmeter.balance order by month").await,
        ["2024-09-01 11.5 4 8", "2024-10-01 4 4 0"]
    );
    stage.close().await;
}

#[tokio::test]
async fn c8_an_hour_that_had_no_usage_is_opened_for_what_comes_after_midnight() {
    let stage = Stage::new().await;
    stage.at("2024-10-01T00:20:00Z").await;
    stage.use_cores("ten to midnight", "1.5", "2024-09-30T23:50:00Z").await;
    stage.cut_at("2024-10-01T00:40:00Z").await;
    assert_eq!(stage.accepted(), ["30T23 2"]);
    stage.close().await;
}
