//! One member of a batch, whatever holds or breaks it, costs its own row; the rest is through in the same round.

mod again;
mod carrying;
mod cutting;
mod everybodys;
mod following;
mod gathering;
mod moving;
mod proving;
mod sides;

use tests::Stage;
use tokio_postgres::Client;

/// A stage on which so many orgs have used a core at ten o'clock, and it can be cut: `org1`, `org2`, …
async fn ripe(orgs: u32) -> Stage {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension::default()).await;
    used(&stage, orgs, "1", "2024-09-18T10:10:00Z").await;
    stage.at("2024-09-18T11:00:00Z").await;
    stage.fold().await;
    stage.at("2024-09-18T11:10:00Z").await;
    stage
}

/// So many orgs are subscribed and have used so much then.
async fn used(stage: &Stage, orgs: u32, quantity: &str, used_at: &str) {
    stage
        .sql(&format!(
            "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select 'org' || n, 'db', t.id,
                    jsonb_build_object('product_code', 'prod-db', 'customer_aws_account_id', (100000000000 + n)::text), '2024-01-01Z'
             from generate_series(1, {orgs}) n, postmeter.destination t"
        ))
        .await;
    stage.worker.reload().await.unwrap();
    stage
        .sql(&format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 'billing', 'of ' || n, 'org' || n, 'db', 'cores', {quantity}, '{used_at}' from generate_series(1, {orgs}) n"
        ))
        .await;
}

/// From now on no row of this kind can be written: `check` says which can.
async fn sick(stage: &Stage, table: &str, row: &str, column: &str) {
    stage
        .sql(&format!(
            "do $$ begin execute format('alter table postmeter.{table} add constraint sick check ({column} <> %s) not valid', {row}); end $$"
        ))
        .await;
}

/// And now they can again.
async fn cure(stage: &Stage, table: &str) {
    stage.sql(&format!("alter table postmeter.{table} drop constraint sick")).await;
    try_again(stage).await;
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
    let sql =
        "select format('%s %s/%s%s', step, skipped, failed, ': ' || code) from postmeter.setback order by step, member";
    stage.column(sql).await
}

/// What was set aside is tried again at once, as after any change that could cure it.
async fn try_again(stage: &Stage) {
    stage.sql("select postmeter.try_setbacks_again()").await;
}
