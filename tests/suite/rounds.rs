//! One member of a batch, whatever holds or breaks it, costs its own row; the rest is through in the same round.

mod cutting;

use tests::Stage;
use tokio_postgres::Client;

/// A stage on which so many orgs have used a core at ten o'clock, and it can be cut: `org1`, `org2`, …
async fn ripe(orgs: u32) -> Stage {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension::default()).await;
    stage.at("2024-09-18T11:00:00Z").await;
    for org in 1..=orgs {
        stage.subscribe(&format!("org{org}"), &format!("1000000{org:05}")).await;
        stage.record(&format!("of {org}"), &format!("org{org}"), "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    stage.fold().await;
    stage.at("2024-09-18T11:10:00Z").await;
    stage
}

/// The number of an org's meter.
fn meter_of(org: u32) -> String {
    format!(
        "(select m.id from postmeter.meter m join postmeter.subscription s on s.buyer = m.buyer where s.org = 'org{org}')"
    )
}

/// Another session, in the middle of a transaction that holds these rows.
async fn holding(stage: &Stage, rows: &str) -> Client {
    let holder = stage.db.connect().await;
    holder.batch_execute(&format!("set application_name = 'a console'; begin; {rows}")).await.unwrap();
    holder
}

/// What is noted of a step's members: `step skipped/failed reason`.
async fn setbacks(stage: &Stage) -> Vec<String> {
    let sql = "select format('%s %s/%s%s', step, skipped, failed, ': ' || code) from postmeter.setback order by step, member";
    stage.column(sql).await
}

/// What was set aside is tried again at once, as after any change that could cure it.
async fn try_again(stage: &Stage) {
    stage.sql("select postmeter.try_setbacks_again()").await;
}
