//! What a scrape shows after real traffic, while the database is away, and when a loop stands still.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use postmeter::embedded::{Cluster, Options};
use remittance::Outcome;
use serde_json::json;
use telemetry::names::TABLE;
use telemetry::{HealthEndpoints, LoopHealth};
use tests::{Console, Dimension, Stage, TestDatabase, quick};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use worker::Worker;

use super::table::exposed;
use super::{Telling, get};

/// The value of a series, as it stands in a scrape.
pub(super) fn value<'a>(text: &'a str, series: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

/// Five remittances of two cores each: of `rejected` refused, of `unknown` unknown, of `paused` due at a paused
/// destination, of `acme` and `beta` about to be sent; a usage that nobody knows what to do with; one in an open hour; and a request that nobody finished.
/// A meter that somebody has locked, and a step that fails.
const ISOLATED: &str = "insert into postmeter.setback (step, member, skipped) values ('cut', '4711', 1);
    insert into postmeter.step_failure (step, worker_id, message) select 'cut', id, 'no space' from postmeter.worker";

async fn scene() -> Stage {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.sql("update postmeter.dimension set unit_price = 0.5, currency = 'EUR'").await;
    stage.sql("update postmeter.quota set calls_per_second = 1000").await;
    stage.configure("tries_max = 1").await;
    for (org, account) in [("rejected", "100000000001"), ("unknown", "100000000002")] {
        stage.subscribe(org, account).await;
    }
    stage.at("2024-09-18T10:30:00Z").await;
    stage.sql("select postmeter.track('ingress', 'silent', 'received', postmeter.clock())").await;
    for word in ["received", "success"] {
        stage.sql(&format!("select postmeter.track('ingress', 'done', '{word}', postmeter.clock())")).await;
    }
    let recorded = async |org: &str| stage.record(org, org, "cores", "2", "2024-09-18T10:10:00Z").await;
    recorded("rejected").await;
    recorded("unknown").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let claims = stage.claim_as(stage.worker.id()).await;
    assert_eq!(claims.len(), 2);
    let (first, second) = claims.split_at(1);
    stage.settle_as(stage.worker.id(), first, Outcome::Rejected { code: "InvalidProductCode".to_owned() }).await;
    stage.settle_as(stage.worker.id(), second, Outcome::Unknown { code: "timeout".to_owned() }).await;
    let paused = "insert into postmeter.destination (name, kind, settings, quota_id, age_limit, records_max, bytes_max, paused)
                  select 'paused', kind, settings, quota_id, age_limit, records_max, bytes_max, true from postmeter.destination;
                  insert into postmeter.dimension (destination_id, product, metric, name, unit_price, currency)
                  select id, 'db', 'cores', 'cores', 0.5, 'EUR' from postmeter.destination where name = 'paused';
                  insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
                  select 'paused', 'db', id, '{\"product_code\": \"prod-db\", \"customer_aws_account_id\": \"100000000003\"}', '2024-01-01 00:00Z'
                  from postmeter.destination where name = 'paused'";
    stage.sql(paused).await;
    for (org, account) in [("acme", "100000000004"), ("beta", "100000000005")] {
        stage.subscribe(org, account).await;
    }
    for org in ["paused", "acme", "beta", "nobody"] {
        stage.record(org, org, "cores", "2", "2024-09-18T11:10:00Z").await;
    }
    stage.cut_only("2024-09-18T12:10:00Z").await;
    stage.record("open", "acme", "cores", "7", "2024-09-18T12:05:00Z").await;
    stage
}

/// A request status that is recorded, and one that is refused as noise.
async fn track(console: &Console, token: &str) {
    for (id, answer) in [("r", 202), ("-1", 422)] {
        let status = json!({ "service": "a", "request_id": id, "status": "received", "date": "2024-09-18T12:00:00Z" });
        assert_eq!(console.post(token, "/v1/request-statuses", &status).await.status, answer);
    }
}

#[tokio::test]
async fn i5_a_worker_and_a_console_expose_every_metric_of_the_table_and_no_other() {
    let stage = scene().await;
    let worker = Telling::start(&stage.db.url(), &[]);
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake"]).await;
    let usage = json!({ "source": "s", "event_id": "e", "org": "acme", "product": "db", "metric": "cores", "quantity": "1",
                        "used_at": "2024-09-18T12:06:00Z" });
    assert_eq!(console.post(&token, "/v1/usage", &usage).await.status, 202);
    track(&console, &token).await;
    let accepted = "select (count(*) = 2)::text from postmeter.delivery where status = 'accepted'";
    for sql in [
        accepted,
        "select not exists (select from postmeter.outbox)",
        "select count(*) = 1 from postmeter.unfinished_request",
        "select count(*) = 1 from postmeter.request_refused",
        "select checked_at is not null from postmeter.balance_check",
    ] {
        tests::until_true(&stage.db.client, sql).await;
    }
    stage.sql(ISOLATED).await;
    // a worker that was asked before has answers that it keeps for a while
    let of_worker = worker.get("/metrics").await.1;
    let of_console = get(&console.url, "/metrics").await.1;
    let told: BTreeSet<_> = exposed(&of_worker).union(&exposed(&of_console)).copied().collect();
    let wanted: BTreeSet<_> = TABLE.iter().map(|metric| metric.name).collect();
    assert_eq!(told, wanted, "missing: {:?}\n{of_worker}", wanted.difference(&told));
    for (series, wanted) in [
        ("postmeter_database_up", "1"),
        ("postmeter_deliveries{destination=\"aws\",status=\"rejected\"}", "1"),
        ("postmeter_deliveries{destination=\"aws\",status=\"in_flight\"}", "0"),
        ("postmeter_deliveries{destination=\"aws\",status=\"open\"}", "1"),
        ("postmeter_deliveries{destination=\"paused\",status=\"due\"}", "1"),
        ("postmeter_delivery_amount{destination=\"aws\",status=\"unknown\",currency=\"EUR\"}", "1"),
        ("postmeter_dead_letters{destination=\"aws\",status=\"unknown\"}", "1"),
        ("postmeter_forecast_missed_deliveries{destination=\"paused\"}", "1"),
        ("postmeter_destination_paused{destination=\"paused\"}", "1"),
        ("postmeter_destination_paused{destination=\"aws\"}", "0"),
        ("postmeter_breaker_open{destination=\"aws\"}", "0"),
        ("postmeter_held_usages{reason=\"no_subscription\"}", "1"),
        ("postmeter_quota_calls_per_second{quota=\"aws\"}", "1000"),
        ("postmeter_balance_open_meters", "0"),
        ("postmeter_setbacks{step=\"cut\",state=\"locked\"}", "1"),
        ("postmeter_step_failures_in_a_row{step=\"cut\"}", "1"),
        ("postmeter_hours_not_cut{destination=\"aws\"}", "0"),
        ("postmeter_alerts_open{name=\"conflict\"}", "0"),
        ("postmeter_requests_unfinished", "1"),
        ("postmeter_usage_rows{product=\"db\",metric=\"cores\",stage=\"recorded\"}", "8"),
        ("postmeter_usage_quantity{product=\"db\",metric=\"cores\",stage=\"recorded\"}", "20"),
        ("postmeter_usage_rows{product=\"db\",metric=\"cores\",stage=\"folded\"}", "7"),
        ("postmeter_usage_rows{product=\"db\",metric=\"cores\",stage=\"open\"}", "2"),
        ("postmeter_usage_quantity{product=\"db\",metric=\"cores\",stage=\"cut\"}", "10"),
        ("postmeter_usage_rows{product=\"db\",metric=\"cores\",stage=\"accepted\"}", "2"),
        ("postmeter_usage_quantity{product=\"db\",metric=\"cores\",stage=\"accepted\"}", "4"),
        ("postmeter_usage_quantity{product=\"db\",metric=\"cores\",stage=\"rejected\"}", "2"),
        ("postmeter_usage_quantity{product=\"db\",metric=\"cores\",stage=\"due\"}", "2"),
        ("postmeter_usage_quantity{product=\"db\",metric=\"cores\",stage=\"held_usage\"}", "2"),
        ("postmeter_entries_folded_total", "2"),
        ("postmeter_deliveries_claimed_total{destination=\"aws\"}", "2"),
        ("postmeter_attempts_total{destination=\"aws\",outcome=\"accepted\",code=\"\"}", "2"),
        ("postmeter_queue_wait_seconds_count{destination=\"aws\"}", "2"),
        ("postmeter_late_evidence_total", "0"),
    ] {
        assert_eq!(value(&of_worker, series), Some(wanted), "{series}\n{of_worker}");
    }
    let missing: Vec<_> = of_worker
        .lines()
        .filter(|line| line.starts_with("postmeter_reading_missing") && !line.ends_with(" 0"))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    worker.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_a_scrape_without_time_for_every_question_is_no_outage() {
    let stage = scene().await;
    let worker = Telling::start(&stage.db.url(), &[]);
    worker.until("/ready", |status, _| status == 200).await;
    let mut other = stage.db.connect().await;
    let transaction = other.transaction().await.unwrap();
    // one table: who locks two meets the worker in another order
    transaction.batch_execute("lock table postmeter.delivery").await.unwrap();
    let missing = |text: &str, question: &str| {
        value(text, &format!("postmeter_reading_missing{{question=\"{question}\"}}")) == Some("1")
    };
    let text = worker.until("/metrics", |_, text| missing(text, "deliveries") && missing(text, "forecast")).await;
    assert_eq!(value(&text, "postmeter_database_up"), Some("1"), "{text}");
    assert!(value(&text, "postmeter_clock_skew_seconds").is_some(), "what was answered is there: {text}");
    let rejected = "postmeter_deliveries{destination=\"aws\",status=\"rejected\"}";
    assert_eq!(value(&text, rejected), None, "missing, not old: {text}");
    drop(transaction);
    worker.until("/metrics", |_, text| value(text, rejected) == Some("1")).await;
    worker.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_while_postgres_is_away_a_worker_lives_and_is_not_ready_and_says_so() {
    let mut cluster = Cluster::start(Options::default()).unwrap();
    let mut stage = Stage::on(TestDatabase::alone_on(&cluster).await).await;
    let worker = Telling::start(&stage.db.url(), &[]);
    worker.until("/ready", |status, _| status == 200).await;
    assert_eq!(value(&worker.get("/metrics").await.1, "postmeter_database_up"), Some("1"));
    cluster.kill().unwrap();
    let why = worker.until("/ready", |status, _| status == 503).await;
    assert!(why.starts_with("the database cannot be reached"), "{why}");
    assert_eq!(worker.get("/live").await.0, 200, "a restart would not bring it back");
    let text = worker.until("/metrics", |_, text| value(text, "postmeter_database_up") == Some("0")).await;
    assert!(!text.contains("postmeter_deliveries{"), "no old or empty count: {text}");
    assert!(exposed(&text).contains("postmeter_build_info"), "what the process counts is there");
    cluster.restart().unwrap();
    stage.db.client = stage.db.connect().await;
    worker.until("/ready", |status, _| status == 200).await;
    worker.until("/metrics", |_, text| value(text, "postmeter_database_up") == Some("1")).await;
    worker.stop();
    stage.close().await;
}

#[tokio::test]
async fn f9_a_worker_on_a_schema_that_is_not_its_own_is_not_ready() {
    let stage = Stage::new().await;
    let worker = Telling::start(&stage.db.url(), &[]);
    worker.until("/ready", |status, _| status == 200).await;
    let newest = "select max(version) from postmeter.migration where name ~ '_pre_'";
    stage.sql(&format!("delete from postmeter.migration where version >= ({newest})")).await;
    let why = worker.until("/ready", |status, _| status == 503).await;
    assert!(why.contains("migrate"), "{why}");
    worker.stop();
}

#[tokio::test]
async fn e3_a_worker_whose_heartbeats_are_not_heard_is_not_ready() {
    let stage = Stage::new().await;
    let vital = HealthEndpoints::of_worker(stage.db.another(), Arc::default());
    assert_eq!(vital.ready().await.unwrap_err().to_string(), "the worker has no lease: no heartbeat of it was heard");
    let pulse = Arc::<LoopHealth>::default();
    let options = worker::Options { pulse: Arc::clone(&pulse), ..quick() };
    let worker = Worker::start(stage.db.another(), options).await.unwrap();
    let vital = HealthEndpoints::of_worker(stage.db.another(), pulse);
    vital.ready().await.unwrap();
    stage.sql(&format!("update postmeter.worker set reaped_at = clock_timestamp() where id = '{}'", worker.id())).await;
    assert!(!worker.beat().await.unwrap());
    vital.ready().await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_a_loop_that_stands_still_fails_live_by_its_name() {
    let stage = Stage::new().await;
    let pulse = Arc::new(LoopHealth::new(Duration::from_secs(2)));
    let options = worker::Options { pulse: Arc::clone(&pulse), ..quick() };
    let worker = Worker::start(stage.db.another(), options).await.unwrap();
    let (stop, vital) = (CancellationToken::new(), HealthEndpoints::of_worker(stage.db.another(), pulse));
    let running = tokio::spawn({
        let (worker, stop) = (Arc::clone(&worker), stop.clone());
        async move { worker.run(stop).await.unwrap() }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(telemetry::serve(listener, Arc::new(vital), std::future::pending()));
    let until = async |wanted: u16| {
        let mut last = (0, String::new());
        tests::wait_until(format_args!("/live answers {wanted}"), async || {
            last = get(&url, "/live").await;
            last.0 == wanted
        })
        .await;
        last.1
    };
    until(200).await;
    // the gather loop waits five seconds for a lock, longer than a loop of this pulse may stand still
    let mut blocker = stage.db.connect().await;
    let blocking = blocker.transaction().await.unwrap();
    blocking.batch_execute("lock table postmeter.request_news in access exclusive mode").await.unwrap();
    let why = until(503).await;
    assert!(why.starts_with("gather has not turned for "), "{why}");
    drop(blocking);
    until(200).await;
    stop.cancel();
    running.await.unwrap();
    serving.abort();
}
