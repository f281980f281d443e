//! Alerts as rows: each opens for real, says what is so, and clears when it is over.

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
