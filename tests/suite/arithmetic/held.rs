//! What cannot be billed yet, or not at all.

use tests::{Dimension, Stage};

use super::{hour, stage_with};

#[tokio::test]
async fn b10_without_a_subscription_it_is_held_with_age_and_deadline_and_billed_when_one_arrives() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("early", "2.5", "2024-09-18T10:10:00Z").await;
    stage.work().await;
    assert_eq!(
        stage
            .column(
                "select format('%s %s until %s since %s', status, reason, deadline at time zone 'UTC',
                               since at time zone 'UTC') from postmeter.unremitted"
            )
            .await,
        ["held no_subscription until 2024-09-19 09:50:00 since 2024-09-18 10:30:00"]
    );
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert!(stage.aws.calls().is_empty());
    stage.subscribe("acme", "111122223333").await;
    stage.cut_at("2024-09-18T12:30:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.held").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn b10_a_dimension_mapped_later_bills_what_waited_for_it() {
    let stage = Stage::bare().await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("early", "2", "2024-09-18T10:10:00Z").await;
    stage.work().await;
    assert_eq!(stage.value("select reason from postmeter.held").await, "unmapped_dimension");
    stage.dimension(Dimension::default()).await;
    stage.at("2024-09-18T11:04:00Z").await;
    stage.work_anew().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 2"]);
    stage.close().await;
}

#[tokio::test]
async fn b10_a_fold_and_a_catalogue_change_that_miss_each_other_are_mended() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("early", "2", "2024-09-18T10:10:00Z").await;
    let mut turns = outbox::fold::Turns::default();
    // the fold has read the catalogue; the subscription arrives and finds nothing held yet
    let subscribe = async || stage.subscribe("acme", "111122223333").await;
    let folded = outbox::fold::fold_with(&stage.db.database, &mut turns, 100, subscribe).await.unwrap();
    assert_eq!(folded.held, 1);
    assert_eq!(outbox::maintain::return_cured(&stage.db.database, 100).await.unwrap(), 1);
    assert_eq!(outbox::maintain::return_cured(&stage.db.database, 100).await.unwrap(), 0);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 2"]);
    stage.close().await;
}

#[tokio::test]
async fn b11_a_quantity_beyond_their_type_is_held_before_any_call_and_no_cent_is_lost() {
    let stage = Stage::new().await;
    hour(&stage, 10, "2147483647").await;
    hour(&stage, 11, "2147483648").await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 2147483647", "18T11 held 2147483648"]);
    assert_eq!(
        stage.value("select reason from postmeter.remittance where status = 'held'").await,
        "quantity_out_of_range"
    );
    assert_eq!(stage.aws.calls().len(), 1);
    assert_eq!(stage.value("select held::text from postmeter.balance").await, "2147483648");
    stage.close().await;
}

#[tokio::test]
async fn b11_a_sum_beyond_every_quantity_is_held_too() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    for n in 0..3 {
        stage.use_cores(&n.to_string(), "1000000000000", "2024-09-18T10:05:00Z").await;
    }
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 held 3000000000000"]);
    stage.close().await;
}

#[tokio::test]
async fn b11_what_is_below_their_digits_is_carried() {
    let stage = stage_with(Dimension { rounding: "down", decimals: 6, ..Dimension::default() }).await;
    hour(&stage, 10, "1.0000015").await;
    assert_eq!(stage.value("select carried::text from postmeter.balance").await, "0.0000005");
    hour(&stage, 11, "0.0000005").await;
    assert_eq!(stage.accepted(), ["18T10 1.000001", "18T11 0.000001"]);
    assert_eq!(stage.value("select carried::text from postmeter.balance").await, "0");
    stage.close().await;
}
