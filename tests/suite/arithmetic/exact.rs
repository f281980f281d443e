//! Exact decimals, end to end.

use tests::{Dimension, Stage};

use super::{billed, hour, stage_with};

#[tokio::test]
async fn b5_a_tenth_and_two_tenths_less_three_tenths_bill_nothing() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    for (event, quantity) in [("a", "0.1"), ("b", "0.2")] {
        stage.use_cores(event, quantity, "2024-09-18T10:10:00Z").await;
        stage.correct(&format!("no {event}"), event, &format!("-{quantity}"), "2024-09-18T10:20:00Z").await;
    }
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 nothing_due 0"]);
    assert!(stage.aws.calls().is_empty());
    stage.close().await;
}

#[tokio::test]
async fn b5_a_million_times_a_tenth_is_a_hundred_thousand_exactly() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage
        .sql(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 'billing', n::text, 'acme', 'db', 'cores', 0.1, '2024-09-18T10:10Z'
             from generate_series(1, 1000000) n",
        )
        .await;
    stage.fold().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 100000"]);
    stage.close().await;
}

#[tokio::test]
async fn b5_fifteen_decimals_survive_from_insert_to_ledger() {
    let stage = stage_with(Dimension { decimals: 6, ..Dimension::default() }).await;
    stage.at("2024-09-18T10:30:00Z").await;
    let (small, large) = ("0.123456789012345", "999999999.123456789012345");
    stage.use_cores("small", small, "2024-09-18T10:10:00Z").await;
    stage.use_cores("large", large, "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    for table in ["usage", "allocation"] {
        let quantities = stage.column(&format!("select quantity::text from postmeter.{table} order by quantity")).await;
        assert_eq!(quantities, [small, large], "{table}");
    }
    assert_eq!(stage.value("select metrics #>> '{0,used_here}' from postmeter.cut").await, "999999999.246913578024690");
    assert_eq!(stage.value("select recorded::text from postmeter.balance").await, "999999999.24691357802469");
    assert_eq!(stage.accepted(), ["18T10 999999999.246914"]);
    assert_eq!(
        stage.value("select carried::text from postmeter.balance").await,
        "-0.00000042197531",
        "what was rounded up"
    );
    stage.close().await;
}

#[tokio::test]
async fn b5_sixty_minutes_at_a_sixtieth_are_one_hour_exactly() {
    for rounding in ["up", "down", "nearest"] {
        let stage = stage_with(Dimension { factor: (1, 60), rounding, ..Dimension::default() }).await;
        stage.at("2024-09-18T10:59:59Z").await;
        for minute in 0..60 {
            stage.use_cores(&minute.to_string(), "1", &format!("2024-09-18T10:{minute:02}:00Z")).await;
        }
        stage.cut_at("2024-09-18T11:10:00Z").await;
        assert_eq!(stage.accepted(), ["18T10 1"], "{rounding}");
        assert_eq!(stage.value("select carried::text from postmeter.balance").await, "0", "{rounding}");
        stage.close().await;
    }
}

#[tokio::test]
async fn b5_three_times_twenty_minutes_at_a_sixtieth_are_one_hour_not_two() {
    let stage = stage_with(Dimension { factor: (1, 60), ..Dimension::default() }).await;
    for n in 10..13 {
        hour(&stage, n, "20").await;
    }
    assert_eq!(billed(&stage).await, ["1", "0", "0"]);
    hour(&stage, 13, "0.000000000000001").await;
    assert_eq!(billed(&stage).await, ["1", "0", "0", "1"], "the least beyond it starts the next unit");
    stage.close().await;
}
