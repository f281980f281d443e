//! Shadows: a destination that counts the same usage beside a live one, by a catalogue of its own, and never calls.

use outbox::corrections::{Decider, Verb, correct};
use serde_json::json;
use simulator::{Clock, Running, Settings, Simulator};
use tests::{Stage, t};
use tokio::net::TcpListener;

mod apart;
mod counted;
mod never_calls;
mod told;

/// A stage with destination `trial`, a shadow of `aws`, which counts acme's cores by `factor`; and the marketplace that
/// it would call.
pub async fn stage_with_shadow(factor: &str) -> (Stage, Running) {
    let stage = Stage::new().await;
    let theirs = add_shadow(&stage).await;
    shadow_dimension(&stage, factor).await;
    shadow_subscription(&stage, "acme", "111122223333").await;
    (stage, theirs)
}

pub async fn add_shadow(stage: &Stage) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let settings = Settings { clock: Clock::frozen_at(t("2024-09-18T10:00:00Z")), ..Settings::default() };
    let theirs = Simulator::start(listener, settings).expect("a simulator");
    stage
        .db
        .client
        .execute(
            "insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max,
                                                bytes_max, shadow_of, dry_run)
             select 'trial', kind, $1, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max, id, true
             from postmeter.destination where name = 'aws'",
            &[&json!({"region": "us-east-1", "endpoint": theirs.url()})],
        )
        .await
        .expect("a shadow");
    theirs
}

async fn shadow_dimension(stage: &Stage, factor: &str) {
    let (numerator, denominator) = factor.split_once('/').expect("a ratio");
    stage
        .sql(&format!(
            "insert into postmeter.dimension (destination_id, product, metric, name, factor_numerator, factor_denominator)
             select id, 'db', 'cores', 'cores', {numerator}, {denominator} from postmeter.destination where name = 'trial'"
        ))
        .await;
}

pub async fn shadow_subscription(stage: &Stage, org: &str, account: &str) {
    stage
        .sql(&format!(
            "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select '{org}', 'db', id, '{{\"product_code\": \"prod-db\", \"customer_aws_account_id\": \"{account}\"}}', '2024-01-01Z'
             from postmeter.destination where name = 'trial'"
        ))
        .await;
    stage.worker.reload().await.expect("the catalogue");
}

/// What the difference says, hour by hour.
async fn differences(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select format('%s live %s %s, shadow %s %s: %s %s', to_char(hour at time zone 'UTC', 'DD\"T\"HH24'), live_status, live_quantity,
                           shadow_status, shadow_quantity, difference, verdict)
             from postmeter.shadow_difference order by hour, dimension",
        )
        .await
}

/// What of the shadow's usage is not counted, and why.
async fn uncounted(stage: &Stage) -> Vec<String> {
    stage
        .column("select coalesce(reason, 'waiting') || ' ' || quantity from postmeter.shadow_usage order by usage_id")
        .await
}

/// Folds and cuts on both sides, but sends nothing.
async fn cut_both(stage: &Stage, time: &str) {
    let before = t(time) - jiff::SignedDuration::from_mins(6);
    stage.at(&before.to_string()).await;
    stage.fold().await;
    while stage.worker.shadow().await.expect("the shadow counts") > 0 {}
    stage.cut_only(time).await;
    while stage.worker.shadow().await.expect("the shadow cuts") > 0 {}
}

/// Every remittance, as `destination status quantity`.
async fn both_sides(stage: &Stage) -> Vec<String> {
    stage
        .column("select concat_ws(' ', destination, status, trim_scale(quantity)) from postmeter.remittance order by destination, hour")
        .await
}

/// A part of the shadow's month, recalculated.
async fn recalculated(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select part || ' ' || quantity from postmeter.recalculate('trial', '2024-09-01') where metric is not null",
        )
        .await
}

const ADA: Decider<'static> = Decider { who: "ada", why: "a test" };

async fn corrected(stage: &Stage, verb: Verb, filter: serde_json::Value) -> usize {
    correct(&stage.db.database, verb, &filter, ADA, false).await.expect("corrected").len()
}
