//! Rounding over the month: up, down with carry, and what the month's last cut settles.

use tests::{Dimension, Stage};

use super::{billed, hour, stage_with};

const DOWN: Dimension<'_> =
    Dimension { metric: "cores", name: "cores", factor: (1, 1), rounding: "down", decimals: 0, month_end: "round_up" };

#[tokio::test]
async fn b1_started_units_are_billed_once_a_month() {
    let stage = Stage::new().await;
    for n in 10..15 {
        hour(&stage, n, "0.5").await;
    }
    assert_eq!(stage.accepted(), ["18T10 1", "18T12 1", "18T14 1"]);
    assert_eq!(billed(&stage).await, ["1", "0", "1", "0", "1"]);
    assert_eq!(stage.aws.calls().len(), 3, "nothing due, no call");
    stage.at("2024-10-02T08:10:00Z").await;
    stage.use_cores("october", "2.5", "2024-10-02T08:00:00Z").await;
    stage.cut_at("2024-10-02T09:10:00Z").await;
    assert_eq!(
        stage.value("select sum(quantity)::text from postmeter.remittance where month = '2024-10-01'").await,
        "3"
    );
    stage.close().await;
}

#[tokio::test]
async fn b2_rounding_down_carries_and_the_months_last_cut_settles_although_its_hour_has_no_usage() {
    let stage = stage_with(DOWN).await;
    for n in 10..15 {
        hour(&stage, n, "0.5").await;
    }
    assert_eq!(billed(&stage).await, ["0", "1", "0", "1", "0"]);
    assert_eq!(stage.value("select carried::text from postmeter.balance").await, "0.5");
    stage.work_at("2024-09-30T22:59:00Z").await;
    assert_eq!(stage.remittances().await.len(), 5, "the last hour has not begun");
    stage.work_at("2024-09-30T23:10:00Z").await;
    assert_eq!(stage.remittances().await.last().unwrap(), "30T23 open");
    stage.cut_at("2024-10-01T00:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 1", "18T13 1", "30T23 1"]);
    assert_eq!(stage.value("select carried::text from postmeter.balance").await, "-0.5", "half a unit is billed ahead");
    // usage after that bills only what the settlement did not
    stage.use_cores("late", "0.3", "2024-09-30T22:30:00Z").await;
    stage.cut_at("2024-10-01T00:30:00Z").await;
    assert_eq!(stage.accepted().len(), 3);
    stage.use_cores("later", "0.4", "2024-09-30T23:30:00Z").await;
    stage.cut_at("2024-10-01T00:50:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 1", "18T13 1", "30T22 1", "30T23 1"]);
    stage.close().await;
}

#[tokio::test]
async fn b2_the_months_last_cut_settles_with_the_usage_of_its_own_hour() {
    let stage = stage_with(DOWN).await;
    hour(&stage, 10, "0.75").await;
    stage.at("2024-09-30T23:20:00Z").await;
    stage.use_cores("last", "0.5", "2024-09-30T23:15:00Z").await;
    stage.cut_at("2024-10-01T00:10:00Z").await;
    assert_eq!(stage.accepted(), ["30T23 2"]);
    stage.close().await;
}

#[tokio::test]
async fn b2_by_policy_the_remainder_is_dropped_and_shown_as_carried() {
    let stage = stage_with(Dimension { month_end: "drop", ..DOWN }).await;
    hour(&stage, 10, "1.75").await;
    stage.work_at("2024-09-30T23:10:00Z").await;
    stage.cut_at("2024-10-01T00:10:00Z").await;
    stage.cut_at("2024-10-01T01:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    assert_eq!(stage.value("select carried::text from postmeter.balance").await, "0.75");
    stage.close().await;
}

#[tokio::test]
async fn b2_a_subscription_that_ends_in_mid_month_settles_its_remainder_in_its_last_hour() {
    let stage = Stage::bare().await;
    stage.dimension(DOWN).await;
    stage.subscribe_for("acme", "111122223333", "2024-01-01T00:00:00Z", Some("2024-09-18T14:00:00Z")).await;
    hour(&stage, 10, "1.5").await;
    stage.work_at("2024-09-18T12:30:00Z").await;
    assert_eq!(stage.remittances().await.len(), 1, "not before its last hour has begun");
    stage.work_at("2024-09-18T13:10:00Z").await;
    stage.cut_at("2024-09-18T14:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T13 1"]);
    stage.close().await;
}

#[tokio::test]
async fn b2_rounding_to_the_nearest_bills_half_a_unit_and_settles_below() {
    let stage = stage_with(Dimension { rounding: "nearest", ..DOWN }).await;
    hour(&stage, 10, "0.49").await;
    hour(&stage, 11, "0.01").await;
    hour(&stage, 12, "0.8").await;
    assert_eq!(billed(&stage).await, ["0", "1", "0"]);
    stage.work_at("2024-09-30T23:10:00Z").await;
    stage.cut_at("2024-10-01T00:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 1", "30T23 1"]);
    stage.close().await;
}

#[tokio::test]
async fn b3_factor_quarter_bills_five_for_twenty_cores() {
    let stage = stage_with(Dimension { factor: (1, 4), ..Dimension::default() }).await;
    hour(&stage, 10, "20").await;
    assert_eq!(stage.accepted(), ["18T10 5"]);
    stage.close().await;
}

#[tokio::test]
async fn b3_factor_quarter_ten_six_and_seven_in_one_hour_are_one_send_of_six() {
    let stage = stage_with(Dimension { factor: (1, 4), ..Dimension::default() }).await;
    stage.at("2024-09-18T10:30:00Z").await;
    for quantity in ["10", "6", "7"] {
        stage.use_cores(quantity, quantity, "2024-09-18T10:10:00Z").await;
    }
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 6"]);
    assert_eq!(stage.aws.calls().len(), 1);
    stage.close().await;
}

#[tokio::test]
async fn b4_after_a_correction_to_sixteen_nothing_is_billed_until_twenty_four_is_passed() {
    let stage = stage_with(Dimension { factor: (1, 4), ..Dimension::default() }).await;
    hour(&stage, 10, "23").await;
    stage.correct("less", "at 10", "-7", "2024-09-18T10:05:00Z").await;
    hour(&stage, 11, "0").await;
    assert_eq!(stage.value("select trim_scale(used)::text from postmeter.meter_metric").await, "16");
    hour(&stage, 12, "8").await;
    hour(&stage, 13, "0.1").await;
    assert_eq!(billed(&stage).await, ["6", "0", "0", "1"]);
    stage.close().await;
}

#[tokio::test]
async fn b3_a_new_factor_counts_from_its_month_on_and_late_usage_keeps_the_old_one() {
    let stage = stage_with(Dimension { factor: (1, 4), ..Dimension::default() }).await;
    stage
        .sql(
            "insert into postmeter.dimension (destination_id, product, metric, name, factor_numerator, valid_from)
             select destination_id, product, metric, name, 2, '2024-10-01' from postmeter.dimension",
        )
        .await;
    stage.at("2024-09-30T23:30:00Z").await;
    stage.use_cores("september", "8", "2024-09-30T23:10:00Z").await;
    stage.cut_at("2024-10-01T00:10:00Z").await;
    stage.use_cores("late", "4", "2024-09-30T23:50:00Z").await;
    stage.use_cores("october", "8", "2024-10-01T00:05:00Z").await;
    stage.cut_at("2024-10-01T01:10:00Z").await;
    assert_eq!(stage.accepted(), ["30T22 1", "30T23 2", "01T00 16"]);
    stage.close().await;
}
