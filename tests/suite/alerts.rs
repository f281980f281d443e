//! Alerts as rows: each opens for real, says what is so, and clears when it is over.

mod drill;
pub(super) mod fired;
mod fleet;
mod isolation;
mod missing;
mod rows;
mod webhook;

use serde_json::Value;
use tests::Stage;

/// Looks at everything now and returns the open alerts as `name subject count`.
async fn look(stage: &Stage) -> Vec<String> {
    stage.worker.look(true).await.expect("a look");
    stage.column("select concat_ws(' ', name, nullif(subject, ''), count) from postmeter.alert where cleared_at is null order by name, subject").await
}

/// The details of an open alert.
async fn details(stage: &Stage, name: &str) -> Value {
    let sql = format!("select details::text from postmeter.alert where cleared_at is null and name = '{name}'");
    serde_json::from_str(&stage.value(&sql).await).expect("details")
}

/// One remittance that is due, and a stage without any alert.
async fn quiet() -> Stage {
    let stage = Stage::new().await;
    stage.sql("select postmeter.create_partitions(2), postmeter.create_request_partitions(7)").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("e", "3", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    assert_eq!(look(&stage).await, [""; 0]);
    let failures = "select name || ': ' || failure from postmeter.alert_rule where failure is not null";
    assert_eq!(stage.column(failures).await, [""; 0], "each can be looked at");
    stage
}

/// Checks the whole balance now, as one worker of the fleet does every ten minutes.
async fn check_balance(stage: &Stage) {
    stage.sql("update postmeter.balance_check set next_at = '-infinity'").await;
    let within = std::time::Duration::from_secs(60);
    outbox::measure::check_balance(&stage.db.database, within).await.unwrap().expect("it comes to its end");
}
