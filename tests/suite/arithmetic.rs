//! B: what is billed, to the last digit.

use tests::{Dimension, Stage};

#[tokio::test]
async fn b1_started_units_are_billed_once_a_month() {
    let stage = Stage::new().await;
    for (n, hour) in ["10", "11", "12", "13", "14"].iter().enumerate() {
        stage.at(&format!("2024-09-18T{hour}:10:00Z")).await;
        stage.use_cores(&format!("e{n}"), "0.5", &format!("2024-09-18T{hour}:05:00Z")).await;
        stage.cut_at(&format!("2024-09-18T{}:10:00Z", hour.parse::<u32>().unwrap() + 1)).await;
    }
    assert_eq!(stage.accepted(), ["18T10 1", "18T12 1", "18T14 1"]);
    stage.at("2024-10-02T08:10:00Z").await;
    stage.use_cores("october", "2.5", "2024-10-02T08:00:00Z").await;
    stage.cut_at("2024-10-02T09:10:00Z").await;
    assert_eq!(stage.value("select sum(quantity)::text from postmeter.remittance where month = '2024-10-01'").await, "3");
    stage.close().await;
}

#[tokio::test]
async fn b3_factor_quarter_bills_five_for_twenty_cores() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension { factor: (1, 4), ..Dimension::default() }).await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("twenty", "20", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 5"]);
    stage.close().await;
}
