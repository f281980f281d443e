//! How soon a due row is on the wire, and what an idle worker costs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use worker::{Options, Worker};

use crate::ground::{Ground, connect, open};
use crate::process::Part;
use crate::report::{Report, Target, scaled};
use crate::{answerer, seed};

const ROWS: usize = 300;
const IDLE_SECONDS: usize = 30;

pub async fn run(report: &mut Report) {
    on_the_wire(report).await;
    idle(report).await;
}

/// One row at a time becomes due while the worker has nothing to do. Counted from before the INSERT is sent, so its
/// commit, with fsync, is part of it; until the first byte of the request has arrived.
async fn on_the_wire(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    let url = ground.database("latency").await;
    let client = connect(&url).await;
    let (arrivals, mut arrived) = mpsc::unbounded_channel();
    let port = answerer::watched(arrivals).await;
    seed::destination(&client, port, 1, 64).await;
    let (stop, running) = start(&url).await;
    // its first heartbeat publishes that it sleeps; until then nobody notifies
    let sleeps = "select count(*) from postmeter.worker where sleeping";
    while client.query_one(sleeps, &[]).await.expect("a count").get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut took = Vec::new();
    for n in 1..=scaled(ROWS) {
        let number = i64::try_from(n).expect("few");
        let started = Instant::now();
        seed::due(&client, number, number).await;
        let at: Instant = arrived.recv().await.expect("a request");
        took.push(at.saturating_duration_since(started).as_secs_f64() * 1000.0);
        // a length without a common rhythm with the worker's
        tokio::time::sleep(Duration::from_millis(30 + (n as u64 * 37) % 50)).await;
    }
    stop.cancel();
    running.await.expect("a worker");
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() as f64 * share) as usize).min(took.len() - 1)];
    report.note("latency", "due row to request on the wire, p50, fsync on", at(0.5), "ms", Target::Below(5.0));
    report.note("latency", "due row to request on the wire, p99, fsync on", at(0.99), "ms", Target::Below(20.0));
    report.note("latency", "due row to request on the wire, slowest", at(1.0), "ms", Target::None);
}

async fn start(url: &str) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let options = Options { open: tests::aws_with_test_keys, ..Options::default() };
    let worker = Worker::start(open(url), options).await.expect("a worker");
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move {
            worker.run(stop).await.expect("it stops");
        }
    });
    (stop, running)
}

/// A worker in a process of its own, with one destination and nothing to do.
async fn idle(report: &mut Report) {
    let ground = Ground::start(true, &[("log_statement", "all")]);
    let url = ground.database("idle").await;
    let client = connect(&url).await;
    seed::destination(&client, 9, 1, 64).await;
    seed::subscriptions(&client, 100).await;
    let part = Part::start(&["child-work", &url]);
    // what happens once, at the start, is over by then
    tokio::time::sleep(Duration::from_secs(8)).await;
    let seconds = scaled(IDLE_SECONDS).max(5);
    let (cpu, log, transactions) = (part.cpu_seconds(), ground.log().len(), transactions(&client).await);
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    let (length, cpu) = (started.elapsed().as_secs_f64(), part.cpu_seconds() - cpu);
    let queries = queries(&ground.log()[log..]);
    let transactions = self::transactions(&client).await - transactions;
    part.end().await;
    report.note("latency", "idle worker, CPU", cpu / length * 100.0, "% of core", Target::Below(0.5));
    let mut loops: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, count) in &queries {
        println!("  idle: {name} {:.2}/s", f64::from(*count) / length);
        *loops.entry(loop_of(name)).or_default() += f64::from(*count) / length;
    }
    for (name, rate) in loops {
        report.note("latency", format!("idle worker, queries of the {name} loop"), rate, "1/s", Target::Below(1.0));
    }
    report.note("latency", "idle worker, transactions a second in all", transactions / length, "1/s", Target::None);
}

/// Which loop of a worker asks a query.
fn loop_of(query: &str) -> &'static str {
    match query.split('_').next() {
        Some("fold") => "fold",
        Some("cut") => "cut",
        Some("claim" | "suspects" | "quota") => "destination",
        Some("breaker") => "health",
        Some("heartbeat") => "heartbeat",
        Some("promote") => "promote",
        _ => "maintain",
    }
}

/// How often each query of ours stands in the log; its first line is its name.
fn queries(log: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("execute ")) {
        if let Some(name) = line.split_once(": -- ").and_then(|(_, rest)| rest.split_once(':')) {
            *counts.entry(name.0.to_owned()).or_default() += 1;
        }
    }
    counts
}

async fn transactions(client: &tokio_postgres::Client) -> f64 {
    let sql = "select (xact_commit + xact_rollback)::double precision from pg_stat_database
               where datname = current_database()";
    client.query_one(sql, &[]).await.expect("statistics").get(0)
}

/// Works until the parent is done.
pub async fn child(url: &str) {
    let (stop, running) = start(url).await;
    crate::process::until_parent_is_done().await;
    stop.cancel();
    running.await.expect("a worker");
}
