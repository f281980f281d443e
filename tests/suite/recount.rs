//! K5: what was refused for a mistaken catalogue is counted again, by today's catalogue and in its own hour.

mod advice;
mod marketplaces;
mod obstacles;
mod own_hour;

use outbox::corrections::{Change, Decider, Verb, correct};
use serde_json::{Value, json};
use simulator::AwsSettings;
use tests::Stage;

const ADA: Decider<'_> = Decider { who: "ada", why: "the catalogue was mistaken" };

/// Counts again what a filter names, after a dry run that changes nothing and foretells the same.
async fn recount(stage: &Stage, filter: Value) -> Vec<Change> {
    recount_as(stage, Verb::Recount { late: false }, filter).await
}

/// The same, as late usage where something stands in the way.
async fn recount_late(stage: &Stage, filter: Value) -> Vec<Change> {
    recount_as(stage, Verb::Recount { late: true }, filter).await
}

async fn recount_as(stage: &Stage, verb: Verb, filter: Value) -> Vec<Change> {
    let before = stage.remittances().await;
    let told = correct(&stage.db.database, verb, &filter, ADA, true).await.unwrap();
    assert_eq!(stage.remittances().await, before, "a dry run changes nothing");
    let done = correct(&stage.db.database, verb, &filter, ADA, false).await.unwrap();
    let moved = |changes: &[Change]| changes.iter().map(|c| (c.delivery, c.after != c.before)).collect::<Vec<_>>();
    assert_eq!(moved(&told), moved(&done), "{told:?} {done:?}");
    balanced(stage).await;
    done
}

/// The notes of what stays as it is.
fn refused(changes: &[Change]) -> Vec<&str> {
    changes.iter().filter(|c| c.after == c.before).map(|c| c.note.as_deref().unwrap_or_default()).collect()
}

/// The balance closes, and every unit of each month has a name.
pub async fn balanced(stage: &Stage) {
    let open = "select format('%s %s: %s', buyer, month, difference) from postmeter.balance where difference <> 0
                union all
                select format('%s %s: %s', org, metric, difference) from postmeter.usage_balance where difference <> 0";
    assert_eq!(stage.column(open).await, Vec::<String>::new());
    let unexplained = "select format('%s %s %s: %s', t.name, r.part, r.reason, r.quantity)
         from postmeter.destination t
         cross join (select distinct month from postmeter.meter) m
         cross join lateral postmeter.recalculate(t.name, m.month) r
         where r.part = 'unexplained'";
    assert_eq!(stage.column(unexplained).await, Vec::<String>::new());
    let covered =
        "select format('%s of %s', covered, used) from postmeter.meter_metric where covered > used or covered < 0";
    assert_eq!(stage.column(covered).await, Vec::<String>::new());
}

/// Changes the rules of the simulated AWS.
pub fn rules(stage: &Stage, change: impl FnOnce(&mut AwsSettings)) {
    let mut settings = stage.aws.settings();
    change(&mut settings.aws);
    stage.aws.set_settings(settings);
}

/// The marketplace knows these products, and these customers of theirs.
pub fn only(stage: &Stage, products: &[&str], customers: &[&str]) {
    rules(stage, |aws| {
        aws.product_codes = Some(products.iter().map(ToString::to_string).collect());
        aws.subscriptions = Some(
            products
                .iter()
                .flat_map(|product| {
                    customers.iter().map(|customer| simulator::Subscription {
                        customer_aws_account_id: Some((*customer).to_owned()),
                        product_code: Some((*product).to_owned()),
                        ..Default::default()
                    })
                })
                .collect(),
        );
    });
}

/// The identity of an org's subscription is another one from now on, in place.
pub async fn identify(stage: &Stage, org: &str, identity: &Value) {
    stage.sql(&format!("update postmeter.subscription set identity = '{identity}' where org = '{org}'")).await;
    stage.worker.reload().await.unwrap();
}

pub fn product(code: &str, account: &str) -> Value {
    json!({ "product_code": code, "customer_aws_account_id": account })
}

/// A stage whose org was entered with a mistyped product code: three cores of ten o'clock were refused.
pub async fn mistyped() -> Stage {
    let stage = Stage::new().await;
    only(&stage, &["prod-db"], &["111122223333"]);
    identify(&stage, "acme", &product("prod-bd", "111122223333")).await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("three", "3", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 rejected 3"]);
    stage
}
