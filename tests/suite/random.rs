//! All marketplaces at once, with random usage, random faults and random timing: whatever happens, the simulator's own
//! record is our ledger, key by key, and the balance closes.

use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use simulator::{FaultKind, FaultRule, When};
use tests::{Dimension, GOOGLE_SERVICE, Stage, t};

const HOURS: i64 = 6;
const ORGS: [&str; 6] = ["aws0", "aws1", "azure0", "azure1", "google0", "google1"];

/// One destination of each marketplace, two orgs at each, one dimension with a factor and six decimals where they fit.
async fn prepare() -> Stage {
    let stage = Stage::bare().await;
    let url = stage.aws.url();
    let azure = json!({ "endpoint": url, "token_endpoint": url, "profile": "test" });
    let google = json!({ "service_name": GOOGLE_SERVICE, "endpoint": url, "credentials": "metadata" });
    stage.dimension(Dimension { factor: (1, 3), ..Dimension::default() }).await;
    for (name, settings, zone, limits) in [
        ("azure", azure, "UTC", "'24 hours', null, null, 25, 250000, null"),
        ("google", google, "America/Los_Angeles", "'2 hours', '1 hour', '1 hour', 1, 900000, interval '1 hour'"),
    ] {
        stage
            .sql(&format!(
                "with q as (insert into postmeter.quota (name) values ('{name}') returning id)
                 insert into postmeter.destination (name, kind, settings, quota_id, zone, age_limit, month_cutoff,
                                                    closing_window, records_max, bytes_max, memory)
                 select '{name}', '{name}', '{settings}', q.id, '{zone}', {limits} from q;
                 insert into postmeter.dimension (destination_id, product, metric, name, decimals)
                 select id, 'db', 'cores', 'cores', 2 from postmeter.destination where name = '{name}'"
            ))
            .await;
    }
    for (n, org) in ORGS.iter().enumerate() {
        let destination = org.trim_end_matches(char::is_numeric);
        let identity = match destination {
            "aws" => json!({ "product_code": "prod9", "customer_aws_account_id": format!("11112222333{n}") }),
            "azure" => json!({ "resource_id": format!("11112222-3333-4444-5555-00000000000{n}"), "plan_id": "gold" }),
            _ => json!({ "consumer_id": format!("project:{org}") }),
        };
        stage
            .sql(&format!(
                "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
                 select '{org}', 'db', id, '{identity}', '2024-01-01' from postmeter.destination where name = '{destination}'"
            ))
            .await;
    }
    stage.worker.reload().await.unwrap();
    stage
}

fn disturb(stage: &Stage, seed: u64) {
    let rule = |kind, salt: u64| FaultRule::new(kind).probability(0.04, seed.wrapping_mul(31).wrapping_add(salt));
    for (salt, kind) in [
        FaultKind::LoseRequest,
        FaultKind::LoseResponse,
        FaultKind::Reset,
        FaultKind::Html,
        FaultKind::Garbage,
        FaultKind::Truncated,
        FaultKind::Throttle,
    ]
    .into_iter()
    .enumerate()
    {
        stage.aws.add_fault(rule(kind, salt as u64)).unwrap();
    }
    stage.aws.add_fault(rule(FaultKind::Status, 90).status(503).when(When::After)).unwrap();
}

/// Usage of the hour that runs, and now and then of one before it, or a correction.
async fn usage(stage: &Stage, draw: &mut StdRng, now: jiff::Timestamp, number: &mut u32) {
    for _ in 0..draw.random_range(0..4) {
        *number += 1;
        let org = ORGS.choose(draw).unwrap();
        let back = if draw.random_bool(0.2) { draw.random_range(30..150) } else { draw.random_range(0..10) };
        let (used_at, quantity) = (now - jiff::SignedDuration::from_mins(back), draw.random_range(1..2500));
        let quantity = format!("{}.{:02}", quantity / 100, quantity % 100);
        stage.record(&format!("e{number}"), org, "cores", &quantity, &used_at.to_string()).await;
    }
}

/// The person who looks up at the marketplace what is unknown. Returns how much there was to say.
async fn resolve(stage: &Stage) -> usize {
    let unknown = stage
        .column("select id || ' ' || key from postmeter.delivery where maybe_billed and status in ('unknown', 'held')")
        .await;
    let held = stage.their_keys();
    for line in &unknown {
        let (id, key) = line.split_once(' ').unwrap();
        let billed = held.iter().any(|theirs| theirs == key);
        stage.sql(&format!("select postmeter.resolve_unknown({id}, {billed}, 'ada', 'looked it up')")).await;
    }
    unknown.len()
}

const UNFINISHED: &str =
    "select count(*)::text from postmeter.delivery where status in ('due', 'in_flight', 'unknown') or maybe_billed";

async fn run(seed: u64) -> (usize, usize) {
    let (stage, mut draw, mut number) = (prepare().await, StdRng::seed_from_u64(seed), 0);
    disturb(&stage, seed);
    let mut now = t("2024-09-18T10:05:00Z");
    let end = now + jiff::SignedDuration::from_hours(HOURS);
    while now < end {
        stage.work_at(&now.to_string()).await;
        // what was written since the last hour is all that has to be read
        stage.proven().await;
        usage(&stage, &mut draw, now, &mut number).await;
        now += jiff::SignedDuration::from_mins(draw.random_range(4..20));
    }
    stage.aws.clear_faults();
    let mut resolved = 0;
    let rest = async {
        // an hour for what was cut, then whatever a breaker still kept back in real time
        for step in 0.. {
            now += jiff::SignedDuration::from_mins(if step < 12 { 6 } else { 1 });
            stage.work_at(&now.to_string()).await;
            if step >= 12 {
                resolved += resolve(&stage).await;
                if stage.value(UNFINISHED).await == "0" {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), rest).await.expect("it comes to an end");
    let conflicts = stage.column("select key from postmeter.delivery where status in ('conflict', 'rejected')").await;
    assert!(conflicts.is_empty(), "seed {seed}: nobody but us reports here: {conflicts:?}");
    let accepted = stage.aws.record().len();
    assert!(accepted > 0, "seed {seed}");
    stage.close().await;
    (accepted, resolved)
}

#[tokio::test]
async fn e4_ten_random_runs_over_all_marketplaces_agree_with_their_records() {
    // side by side: most of a run is waiting for breakers, whose pauses are real time
    futures_util::future::join_all((1..=10).map(run)).await;
}

#[tokio::test]
#[ignore = "a soak: make random"]
async fn soak_random_runs_over_all_marketplaces_agree_with_their_records() {
    let seeds = std::env::var("POSTMETER_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let runs: Vec<(usize, usize)> = futures_util::stream::iter(1..=seeds).map(run).buffer_unordered(8).collect().await;
    let sums = runs.iter().fold((0, 0), |sums, run| (sums.0 + run.0, sums.1 + run.1));
    println!(
        "{seeds} seeds: {} remittances accepted, {} resolved by hand, every record equal to our ledger",
        sums.0, sums.1
    );
}
