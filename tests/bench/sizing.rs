//! What a million of each costs: bytes on disk and in the log, CPU of Postgres and of our process. For
//! `docs/operate/sizing.md`.

use outbox::requests::{create_partitions, gather};
use outbox::track::track_batch;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use worker::{Options, Worker};

use crate::answerer::Answerer;
use crate::ground::{Ground, connect, open};
use crate::process::cpu_seconds;
use crate::report::{Report, Target, scaled};
use crate::{seed, tracker};

const USAGES: usize = 500_000;
const SINGLES: usize = 50_000;
const ORGS: usize = 10_000;
const BATCH: usize = 500;
const HOURS: usize = 5;
const CALLS: usize = 40_000;

pub async fn run(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    let mut all = Vec::new();
    all.extend(usages(report, &ground).await);
    calls(report, &ground).await;
    all.extend(statuses(report, &ground).await);
    println!("\n| table | bytes a row | of its indexes | MB a million rows |\n|---|---|---|---|");
    for line in all {
        println!("{line}");
    }
}

/// Statistics and a checkpoint, so that each part begins with the same.
async fn at_rest(client: &Client) {
    for command in ["vacuum analyze", "checkpoint"] {
        client.batch_execute(command).await.expect(command);
    }
}

/// What was used up to now.
struct Spent {
    postgres: f64,
    own: f64,
    wal: i64,
}

impl Spent {
    async fn now(ground: &Ground, client: &Client) -> Self {
        let wal = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
        let wal = client.query_one(wal, &[]).await.expect("a position").get(0);
        Self { postgres: ground.cpu_seconds(), own: cpu_seconds("self"), wal }
    }

    /// Notes what so many things have cost since.
    async fn note(self, report: &mut Report, ground: &Ground, client: &Client, what: &str, count: usize) {
        let now = Self::now(ground, client).await;
        let million = |figure: f64| figure * 1e6 / count as f64;
        let mut say = |how: &str, figure: f64, unit: &'static str| {
            report.note("sizing", format!("{what}: {how}"), million(figure), unit, Target::None);
        };
        say("CPU of Postgres", now.postgres - self.postgres, "s/million");
        say("CPU of our process", now.own - self.own, "s/million");
        say("WAL", (now.wal - self.wal) as f64 / 1e6, "MB/million");
    }
}

/// Recorded, folded, cut and sent, 25 records a call.
async fn usages(report: &mut Report, ground: &Ground) -> Vec<String> {
    let answerer = Answerer::start(0).await;
    let url = ground.database("sizing").await;
    let client = connect(&url).await;
    seed::destination(&client, answerer.port, 25, 8).await;
    seed::subscriptions(&client, i64::try_from(scaled(ORGS)).expect("few")).await;
    // hours are cut as soon as they are folded
    client.batch_execute("update postmeter.destination set grace = '0'").await.expect("no grace");
    at_rest(&client).await;
    record(report, ground, &client).await;
    let waiting = sizes(&client, &["outbox"]).await;
    let options = Options { open: tests::aws_with_test_keys, ..Options::default() };
    let worker = Worker::start(open(&url), options).await.expect("a worker");
    worker.reload().await.expect("a catalogue");
    let before = Spent::now(ground, &client).await;
    let mut folded = 0;
    loop {
        match worker.fold().await.expect("folded").taken {
            0 => break,
            taken => folded += taken,
        }
    }
    before.note(report, ground, &client, "folding, a million usages", folded).await;
    let before = Spent::now(ground, &client).await;
    let mut cut = 0;
    loop {
        match worker.cut().await.expect("cut").cut {
            0 => break,
            hours => cut += hours,
        }
    }
    assert!(cut > 0, "hours that are over are cut");
    before.note(report, ground, &client, "cutting, a million remittances", cut).await;
    let before = Spent::now(ground, &client).await;
    send(worker, &client, cut).await;
    before.note(report, ground, &client, "sending 25 a call, a million remittances", cut).await;
    client.batch_execute("vacuum analyze").await.expect("statistics");
    let tables = ["usage", "usage_identity", "allocation", "delivery", "cut", "attempt", "outcome"];
    [waiting, sizes(&client, &tables).await].concat()
}

async fn record(report: &mut Report, ground: &Ground, client: &Client) {
    let orgs = scaled(ORGS);
    let now: i64 = client.query_one("select extract(epoch from now())::bigint", &[]).await.expect("a time").get(0);
    let at = |n: usize| {
        let hour = i64::try_from(n / orgs % HOURS).expect("few");
        jiff::Timestamp::from_second(now - 3600 * (2 + hour)).expect("a time").to_string()
    };
    let usage = |way: &str, n: usize| -> Value {
        json!({
            "source": "bench", "event_id": format!("{way}-{n:0>10}"), "org": format!("org-{}", n % orgs + 1),
            "product": "db", "metric": "cores", "quantity": (n % 7 + 1).to_string(), "used_at": at(n),
            "request_id": uuid::Uuid::new_v4().to_string(), "attributes": {"region": "eu-west-1"},
        })
    };
    let sql = "select verdict, usage_id, error_code, field, message from postmeter.record_usage_batch($1)";
    let statement = client.prepare(sql).await.expect("a statement");
    let batches = scaled(USAGES) / BATCH;
    let before = Spent::now(ground, client).await;
    for batch in 0..batches {
        let body = Value::Array((batch * BATCH..(batch + 1) * BATCH).map(|n| usage("batch", n)).collect());
        let rows = client.query(&statement, &[&body]).await.expect("recorded");
        assert!(rows.iter().all(|row| row.get::<_, &str>("verdict") == "recorded"));
    }
    before.note(report, ground, client, "recording 500 a transaction, a million usages", batches * BATCH).await;
    let sql = "select postmeter.record_usage($1, $2, $3, $4, $5, $6, $7::text::timestamptz, request_id => $8, attributes => $9)";
    let statement = client.prepare(sql).await.expect("a statement");
    let before = Spent::now(ground, client).await;
    for n in 0..scaled(SINGLES) {
        let body = usage("single", n);
        let text = |key: &str| body[key].as_str().expect("text");
        let quantity = rust_decimal::Decimal::from(n % 7 + 1);
        client
            .execute(
                &statement,
                &[
                    &text("source"),
                    &text("event_id"),
                    &text("org"),
                    &text("product"),
                    &text("metric"),
                    &quantity,
                    &text("used_at"),
                    &text("request_id"),
                    &body["attributes"],
                ],
            )
            .await
            .expect("recorded");
    }
    before.note(report, ground, client, "recording one a transaction, a million usages", scaled(SINGLES)).await;
}

/// A whole worker, until so many outcomes are in the ledger.
async fn send(worker: Arc<Worker>, client: &Client, count: usize) {
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(stop).await }
    });
    let recorded = "select count(*) from postmeter.outcome";
    while (client.query_one(recorded, &[]).await.expect("a count").get::<_, i64>(0) as usize) < count {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stop.cancel();
    running.await.expect("a worker").expect("it stops");
}

/// Sent with one record a call.
async fn calls(report: &mut Report, ground: &Ground) {
    let answerer = Answerer::start(0).await;
    let url = ground.database("calls").await;
    let client = connect(&url).await;
    seed::destination(&client, answerer.port, 1, 64).await;
    seed::due(&client, 1, i64::try_from(scaled(CALLS)).expect("few")).await;
    at_rest(&client).await;
    let options = Options { open: tests::aws_with_test_keys, ..Options::default() };
    let worker = Worker::start(open(&url), options).await.expect("a worker");
    let before = Spent::now(ground, &client).await;
    send(worker, &client, scaled(CALLS)).await;
    before.note(report, ground, &client, "sending one a call, a million remittances", scaled(CALLS)).await;
}

/// Statuses of requests, five each: taken in, then gathered.
async fn statuses(report: &mut Report, ground: &Ground) -> Vec<String> {
    let url = ground.database("statuses").await;
    let mut client = connect(&url).await;
    create_partitions(&open(&url), 2).await.expect("partitions");
    client.batch_execute("checkpoint").await.expect("a checkpoint");
    let batches = scaled(USAGES) / BATCH;
    let before = Spent::now(ground, &client).await;
    for batch in 0..batches {
        let body = tracker::batch_of(batch % 2, batch);
        let transaction = client.transaction().await.expect("a transaction");
        track_batch(&transaction, &body).await.expect("recorded");
        transaction.commit().await.expect("committed");
    }
    before.note(report, ground, &client, "status intake, a million statuses", batches * BATCH).await;
    let database = open(&url);
    let before = Spent::now(ground, &client).await;
    while gather(&database).await.expect("gathered") > 0 {}
    before.note(report, ground, &client, "gathering, a million statuses", batches * BATCH).await;
    client.batch_execute("vacuum analyze").await.expect("statistics");
    sizes(&client, &["request_status", "request"]).await
}

/// A line of the table for each of these, its partitions added.
async fn sizes(client: &Client, tables: &[&str]) -> Vec<String> {
    let sql = "select coalesce(sum(pg_table_size(c.oid)), 0)::double precision,
                      coalesce(sum(pg_indexes_size(c.oid)), 0)::double precision
               from pg_class c where c.relkind = 'r'
                 and (c.oid = $1::text::regclass or c.oid in (select inhrelid from pg_inherits where inhparent = $1::text::regclass))";
    let mut lines = Vec::new();
    for table in tables {
        let name = format!("postmeter.{table}");
        let rows: i64 = client.query_one(&format!("select count(*) from {name}"), &[]).await.expect("a count").get(0);
        let row = client.query_one(sql, &[&name]).await.expect("sizes");
        let of = |at: usize| row.get::<_, f64>(at) / rows as f64;
        let (heap, indexes) = (of(0), of(1));
        lines.push(format!("| `{table}` | {:.0} | {indexes:.0} | {:.0} |", heap + indexes, heap + indexes));
    }
    lines
}
