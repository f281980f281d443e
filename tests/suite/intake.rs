//! A: the doors through which usage comes in.

mod answers;
mod buffers;
mod corrections;
mod doors;
mod generations;
mod guarded;
mod races;
mod refusals;
mod repeats;

use tests::Stage;

/// Columns of a usage that a service writes, as SQL values by name.
const COLUMNS: [(&str, &str); 12] = [
    ("source", "'billing'"),
    ("event_id", "'e1'"),
    ("org", "'acme'"),
    ("product", "'db'"),
    ("metric", "'cores'"),
    ("quantity", "2.5"),
    ("used_at", "'2024-09-18T09:30:00Z'"),
    ("account", "null"),
    ("corrects", "null"),
    ("request_id", "'r-1'"),
    ("traceparent", "null"),
    ("attributes", "'{\"level\": \"gold\"}'"),
];

/// A plain INSERT of one usage with some columns changed.
fn insert(changes: &[(&str, &str)]) -> String {
    let value = |name: &str, usual: &str| {
        changes.iter().find(|(changed, _)| *changed == name).map_or(usual, |(_, value)| value).to_owned()
    };
    let values = COLUMNS.map(|(name, usual)| value(name, usual)).join(", ");
    format!("insert into postmeter.outbox ({}) values ({values})", COLUMNS.map(|(name, _)| name).join(", "))
}

/// The same through the function.
fn call(changes: &[(&str, &str)]) -> String {
    let value = |name: &str, usual: &str| {
        changes.iter().find(|(changed, _)| *changed == name).map_or(usual, |(_, value)| value).to_owned()
    };
    let values = COLUMNS.map(|(name, usual)| format!("{name} => {}", value(name, usual))).join(", ");
    format!("select postmeter.record_usage({values})")
}

/// How many rows there are of usage, identity and outbox.
async fn rows(stage: &Stage) -> String {
    stage
        .value(
            "select format('%s %s %s', (select count(*) from postmeter.usage),
                           (select count(*) from postmeter.usage_identity), (select count(*) from postmeter.outbox))",
        )
        .await
}
