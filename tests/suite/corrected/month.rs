//! Corrections at the border of a month, and after its close.

use tests::{GoogleStage, Stage};

use super::{corrections, counted, cured, over_billed, unexplained};

#[tokio::test]
async fn k1_west_of_utc_it_counts_in_the_billing_month_of_its_usage() {
    // 22:30 of the 31st in Los Angeles
    let stage = GoogleStage::at("2024-11-01T05:30:00Z").await;
    stage.use_cores("usage", "30", "2024-11-01T05:20:00Z").await;
    stage.cut_at("2024-11-01T06:10:00Z").await;
    // 00:30 of the 1st there, and the same month of UTC
    stage.at("2024-11-01T07:30:00Z").await;
    stage.correct("less", "usage", "-20", "2024-11-01T07:20:00Z").await;
    stage.use_cores("november", "3", "2024-11-01T07:20:00Z").await;
    stage.cut_at("2024-11-01T08:10:00Z").await;
    assert_eq!(counted(&stage).await, ["used 10, covered 0, billed 30", "used 3, covered 0, billed 3"]);
    assert_eq!(over_billed(&stage).await, ["2024-10 20"]);
    for month in ["2024-10-01", "2024-11-01"] {
        assert!(unexplained(&stage, month).await.is_empty());
    }
}

#[tokio::test]
async fn k1_after_the_months_close_it_is_held_with_the_month_and_counts_when_that_is_reopened() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.at("2024-10-05T00:00:00Z").await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)").await;
    stage.correct("less", "usage", "-4", "2024-09-30T11:05:00Z").await;
    stage.work().await;
    assert_eq!(
        stage
            .column(
                "select format('%s %s %s', class, reason, quantity) from postmeter.close_report('aws', '2024-09-01')"
            )
            .await,
        ["held_usage month_closed -4"]
    );
    // nothing of it changes by itself
    stage.worker.maintain().await.unwrap();
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: held, waiting"]);
    stage.sql("select * from postmeter.reopen_month('aws', '2024-09-01', 'ada', 'books', false)").await;
    stage.work_anew().await;
    assert_eq!(over_billed(&stage).await, ["2024-09 4"]);
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: allocated, counted"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_of_a_closed_month_it_stays_held_whatever_the_catalogue_says_of_its_own_time() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.sql("update postmeter.subscription set valid_until = '2024-09-20T00:00:00Z'").await;
    stage.at("2024-10-05T00:00:00Z").await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)").await;
    // by then the org has no subscription
    stage.correct("less", "usage", "-4", "2024-09-25T11:05:00Z").await;
    stage.work().await;
    assert_eq!(cured(&stage).await, "0");
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: held, waiting"]);
    stage.close().await;
}
