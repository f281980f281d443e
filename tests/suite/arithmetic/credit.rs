//! Corrections that lower the month: credit, used up or listed, never sent.

use tests::Stage;

use super::{billed, hour};

#[tokio::test]
async fn b6_credit_is_shown_used_up_by_later_usage_and_nothing_negative_is_sent() {
    let stage = Stage::new().await;
    hour(&stage, 10, "10").await;
    stage.correct("less", "at 10", "-4", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:30:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 10"]);
    let credit = "select quantity::text from postmeter.month_close where class = 'over_billed'";
    assert_eq!(stage.value(credit).await, "4");
    hour(&stage, 12, "3").await;
    assert_eq!(stage.value(credit).await, "1");
    hour(&stage, 13, "2").await;
    assert!(stage.column(credit).await.is_empty(), "used up");
    assert_eq!(billed(&stage).await, ["10", "0", "1"], "the credit needed no hour");
    stage.close().await;
}

#[tokio::test]
async fn b6_credit_left_at_the_months_close_is_listed_and_never_carried_over() {
    let stage = Stage::new().await;
    stage.at("2024-09-30T22:10:00Z").await;
    stage.use_cores("much", "10", "2024-09-30T22:05:00Z").await;
    stage.cut_at("2024-09-30T23:10:00Z").await;
    stage.correct("less", "much", "-4", "2024-09-30T22:05:00Z").await;
    stage.cut_at("2024-10-01T00:30:00Z").await;
    stage.use_cores("october", "3", "2024-10-01T00:40:00Z").await;
    stage.cut_at("2024-10-01T01:10:00Z").await;
    assert_eq!(stage.accepted(), ["30T22 10", "01T00 3"]);
    assert_eq!(
        stage.column("select month || ' ' || quantity from postmeter.month_close where class = 'over_billed'").await,
        ["2024-09-01 4"]
    );
    stage.close().await;
}

#[tokio::test]
async fn b6_a_correction_whose_usage_is_not_cut_yet_takes_nothing_from_others() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T11:20:00Z").await;
    // the correction's own hour would be cut before the hour of what it corrects
    stage.use_cores("later", "5", "2024-09-18T11:10:00Z").await;
    stage.correct("less", "later", "-5", "2024-09-18T10:50:00Z").await;
    stage.cut_at("2024-09-18T11:40:00Z").await;
    assert_eq!(stage.remittances().await, ["18T11 open"]);
    stage.use_cores("own", "2", "2024-09-18T11:30:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 2"]);
    stage.close().await;
}
