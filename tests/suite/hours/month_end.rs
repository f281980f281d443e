//! The month's end: on time, and in its own month.

use simulator::{FaultKind, FaultRule};
use tests::Stage;

use crate::azure_sending;

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
        stage
            .column("select concat_ws(' ', month, recorded, covered, accepted) from postmeter.balance order by month")
            .await,
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

#[tokio::test]
async fn c8_the_month_is_that_of_the_destinations_zone() {
    let stage = Stage::new().await;
    stage.configure("zone = 'America/Los_Angeles', month_cutoff = null").await;
    stage.at("2024-10-01T06:30:00Z").await;
    stage.use_cores("september", "0.5", "2024-10-01T06:10:00Z").await;
    stage.at("2024-10-01T07:30:00Z").await;
    stage.use_cores("october", "0.5", "2024-10-01T07:10:00Z").await;
    stage.cut_at("2024-10-01T08:10:00Z").await;
    assert_eq!(stage.accepted(), ["01T06 1", "01T07 1"], "half and half of two months are one each");
    assert_eq!(
        stage.column("select month::text from postmeter.balance order by month").await,
        ["2024-09-01", "2024-10-01"]
    );
    stage.close().await;
}

#[tokio::test]
async fn c6_a_subscription_that_ends_or_is_renewed_moves_the_deadlines_of_what_is_not_sent() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("some", "2", "2024-09-18T10:10:00Z").await;
    stage.work().await;
    let deadline = "select (deadline at time zone 'UTC')::text from postmeter.remittance";
    assert_eq!(stage.value(deadline).await, "2024-09-19 09:50:00");
    stage.sql("update postmeter.subscription set valid_until = '2024-09-18T11:00Z'").await;
    stage.worker.maintain().await.unwrap();
    assert_eq!(stage.value(deadline).await, "2024-09-18 11:50:00", "an hour after its end, less the margin");
    // a backlog keeps the hour open, but only until a lead before the new deadline
    stage.use_cores("waits", "1", "2024-09-18T10:20:00Z").await;
    stage.at("2024-09-18T11:19:00Z").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 0);
    stage.at("2024-09-18T11:20:00Z").await;
    assert_eq!(stage.worker.cut().await.unwrap().forced, 1);
    stage.subscribe_for("acme", "111122223333", "2024-09-18T11:00:00Z", None).await;
    stage.worker.maintain().await.unwrap();
    assert_eq!(stage.value(deadline).await, "2024-09-19 09:50:00", "renewed");
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 2", "18T11 1"]);
    stage.close().await;
}

/// An Azure stage with half a core of September carried, on which nobody has worked since the last hour began.
async fn half_a_core_carried() -> Stage {
    let stage = azure_sending::many(1, false).await;
    stage.sql("update postmeter.dimension set decimals = 0, rounding = 'down'").await;
    stage.at("2024-09-30T21:30:00Z").await;
    stage.record("half", "org0", "cores", "0.25", "2024-09-30T21:10:00Z").await;
    stage.cut_at("2024-09-30T22:10:00Z").await;
    stage
}

const CARRIED: &str = "select accepted || ' ' || trim_scale(carried) from postmeter.balance where month = '2024-09-01'";

#[tokio::test]
async fn k10_the_months_remainder_is_sent_as_long_as_the_marketplace_takes_the_hour() {
    // the last hour is taken until 22:50 of the next day
    for (first, sent) in
        [("2024-10-01T06:10:00Z", true), ("2024-10-01T22:30:00Z", true), ("2024-10-01T22:55:00Z", false)]
    {
        let stage = half_a_core_carried().await;
        assert_eq!(stage.value(CARRIED).await, "1 0.5");
        stage.work_at(first).await;
        let grace = tests::t(first) + jiff::SignedDuration::from_mins(6);
        stage.work_at(&grace.to_string()).await;
        assert_eq!(stage.value(CARRIED).await, if sent { "2 -0.5" } else { "1 0.5" }, "first worked at {first}");
        stage.close().await;
    }
}

#[tokio::test]
async fn k10_a_marketplace_that_closes_its_month_is_not_looked_back_at_after_that() {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension { rounding: "down", ..tests::Dimension::default() }).await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-30T21:30:00Z").await;
    stage.use_cores("half", "0.5", "2024-09-30T21:10:00Z").await;
    stage.cut_at("2024-09-30T22:10:00Z").await;
    stage.work_at("2024-10-01T05:51:00Z").await;
    assert_eq!(stage.remittances().await, ["30T21 nothing_due 0"], "refused from six on, less the margin");
    stage.close().await;
}

#[tokio::test]
async fn k10_of_a_buyer_who_comes_back_next_month_the_remainder_is_settled_in_this_one() {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension { rounding: "down", ..tests::Dimension::default() }).await;
    stage.subscribe_for("acme", "111122223333", "2024-01-01T00:00:00Z", Some("2024-09-18T12:00:00Z")).await;
    stage.subscribe_for("acme", "111122223333", "2024-10-05T00:00:00Z", None).await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("half", "0.5", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 1"], "the last hour before the gap");
    stage.close().await;
}
