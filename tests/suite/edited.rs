//! Until its hour is cut, usage goes by the catalogue as it stands: what an edit moves is returned and folded anew.

mod applied;
mod kinds;
mod shares;
mod waiting;

use outbox::maintain::return_marked;
use serde_json::{Value, json};
use tests::{Stage, wait_until};

use crate::azure_sending::resource;

/// The key and quantity of everything that was accepted, without the hour.
fn sent(stage: &Stage) -> Vec<String> {
    let mut lines: Vec<String> = stage
        .aws
        .record()
        .iter()
        .map(|a| format!("{} {} {}", a.key.hour.strftime("%dT%H"), a.key.customer, a.quantity.normalize()))
        .collect();
    lines.sort();
    lines
}

/// Gives the subscription of an org another identity, in place, by SQL.
async fn identify(stage: &Stage, org: &str, identity: &Value) {
    stage.sql(&format!("update postmeter.subscription set identity = '{identity}' where org = '{org}'")).await;
    stage.worker.reload().await.unwrap();
}

/// A buyer of AWS.
fn account(number: &str) -> Value {
    json!({ "product_code": "prod-db", "customer_aws_account_id": number })
}

/// A stage at 10:30 with ten cores of 10:05 folded.
async fn folded() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    assert_eq!(stage.remittances().await, ["18T10 open"]);
    stage
}

/// What waits, is counted, exempt or held: `place quantity`.
async fn places(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select format('%s %s', place, quantity) from (
                 select 'waiting' as place, trim_scale(sum(o.quantity)) as quantity from postmeter.outbox o
                 union all select 'counted ' || m.buyer || ' ' || m.dimension, trim_scale(sum(a.quantity))
                 from postmeter.allocation a join postmeter.delivery d on d.id = a.delivery_id
                 join postmeter.meter m on m.id = d.meter_id group by m.buyer, m.dimension
                 union all select 'exempt', trim_scale(sum(u.quantity)) from postmeter.exempted x join postmeter.usage u on u.id = x.usage_id
                 union all select 'held ' || h.reason, trim_scale(sum(h.quantity)) from postmeter.held h group by h.reason) p
             where quantity is not null order by place",
        )
        .await
}

/// Marks that stand.
const MARKS: &str = "select count(*)::text from postmeter.catalogue_mark";

/// Returns what is marked until no mark is left: one goes when all transactions have ended that may not have seen the change.
async fn until_no_mark(stage: &Stage) {
    wait_until("no mark is left", async || {
        return_marked(&stage.db.database).await.unwrap();
        stage.value(MARKS).await == "0"
    })
    .await;
}
