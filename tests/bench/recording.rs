//! Recording usage, beside the plain INSERT and the plain COPY that a service would write instead.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::ground::{Ground, connect};
use crate::report::{Report, Target, scaled};

const CLIENTS: usize = 8;
const BATCH: usize = 500;
const ROUNDS: usize = 4;

const PLAIN: &str = "
    create table plain (
        source text not null, event_id text not null, org text not null, product text not null, metric text not null,
        quantity numeric not null, used_at timestamptz not null, account text, corrects text, request_id text,
        traceparent text, attributes jsonb not null, unique (source, event_id));
    create table plain_batch (like plain including all)";
const INSERT: &str =
    "insert into plain (source, event_id, org, product, metric, quantity, used_at, request_id, attributes)
    values ($1, $2, $3, $4, $5, $6, now(), $7, $8)";
const RECORD: &str = "select postmeter.record_usage($1, $2, $3, $4, $5, $6, now(), request_id => $7, attributes => $8)";

pub async fn run(report: &mut Report) {
    for durable in [true, false] {
        let how = if durable { "fsync on" } else { "fsync off" };
        let ground = Ground::start(durable, &[]);
        let url = ground.database("recording").await;
        connect(&url).await.batch_execute(PLAIN).await.expect("plain tables");
        one_by_one(report, &url, how).await;
        in_batches(report, &url, how).await;
    }
}

/// One-row transactions of eight clients; the two sides take turns, so that both meet the same noise.
async fn one_by_one(report: &mut Report, url: &str, how: &str) {
    let length = Duration::from_millis(scaled(4000) as u64);
    let mut rates = [0.0; 2];
    for round in 0..ROUNDS {
        for (rate, sql) in rates.iter_mut().zip([INSERT, RECORD]) {
            *rate += singles(url, sql, round, length).await / ROUNDS as f64;
        }
    }
    report.note("recording", format!("bare INSERT, {CLIENTS} clients, {how}"), rates[0], "rows/s", Target::None);
    report.note("recording", format!("record_usage, {CLIENTS} clients, {how}"), rates[1], "rows/s", Target::None);
    report.note(
        "recording",
        format!("ratio, one row a transaction, {how}"),
        rates[1] / rates[0],
        "",
        Target::AtLeast(0.5),
    );
}

async fn singles(url: &str, sql: &'static str, round: usize, length: Duration) -> f64 {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connect(url).await);
    }
    let started = Instant::now();
    let mut tasks = Vec::new();
    for (number, client) in clients.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            let statement = client.prepare(sql).await.expect("a statement");
            let mut rows = 0_u32;
            while started.elapsed() < length {
                let (event, org) = (format!("{round}-{number}-{rows}"), format!("org-{}", rows % 1000));
                let (quantity, attributes) = (Decimal::from(rows % 7 + 1), json!({"region": "eu-west-1"}));
                client
                    .execute(&statement, &[&"bench", &event, &org, &"db", &"cores", &quantity, &"req-1", &attributes])
                    .await
                    .expect("recorded");
                rows += 1;
            }
            rows
        }));
    }
    let mut rows = 0;
    for task in tasks {
        rows += task.await.expect("a client");
    }
    f64::from(rows) / started.elapsed().as_secs_f64()
}

/// Transactions of 500 rows from one client, three ways in turn.
async fn in_batches(report: &mut Report, url: &str, how: &str) {
    let client = connect(url).await;
    let batches = scaled(40);
    let mut seconds = [0.0; 3];
    for round in 0..ROUNDS {
        let rows = |way: &str| -> Vec<Vec<Value>> {
            (0..batches)
                .map(|batch| (0..BATCH).map(|n| usage(&format!("{way}-{round}-{batch}-{n}"), n)).collect())
                .collect()
        };
        seconds[0] += copies(&client, "plain_batch", &rows("plain")).await;
        seconds[1] += calls(&client, &rows("batch")).await;
        seconds[2] += copies(&client, "postmeter.outbox", &rows("copy")).await;
    }
    let rates = seconds.map(|seconds| (ROUNDS * batches * BATCH) as f64 / seconds);
    report.note("recording", format!("COPY of {BATCH} into a plain table, {how}"), rates[0], "rows/s", Target::None);
    report.note("recording", format!("record_usage_batch of {BATCH}, {how}"), rates[1], "rows/s", Target::None);
    report.note("recording", format!("COPY of {BATCH} into the outbox, {how}"), rates[2], "rows/s", Target::None);
    report.note(
        "recording",
        format!("ratio, record_usage_batch, {how}"),
        rates[1] / rates[0],
        "",
        Target::AtLeast(0.4),
    );
    report.note("recording", format!("ratio, COPY into the outbox, {how}"), rates[2] / rates[0], "", Target::None);
}

fn usage(event: &str, n: usize) -> Value {
    json!({
        "source": "bench", "event_id": event, "org": format!("org-{}", n % 1000), "product": "db", "metric": "cores",
        "quantity": (n % 7 + 1).to_string(), "used_at": "now", "request_id": "req-1",
        "attributes": {"region": "eu-west-1"},
    })
}

async fn copies(client: &Client, table: &str, batches: &[Vec<Value>]) -> f64 {
    let columns = ["source", "event_id", "org", "product", "metric", "quantity", "used_at", "request_id"];
    let texts: Vec<String> = batches
        .iter()
        .map(|batch| {
            let line = |row: &Value| {
                let words: Vec<&str> = columns.iter().map(|name| row[*name].as_str().expect("text")).collect();
                format!("{}\t{}\n", words.join("\t"), row["attributes"])
            };
            batch.iter().map(line).collect()
        })
        .collect();
    let sql = format!("copy {table} ({}, attributes) from stdin", columns.join(", "));
    let started = Instant::now();
    for text in texts {
        let mut sink = std::pin::pin!(client.copy_in::<_, Bytes>(&sql).await.expect("copy"));
        sink.send(Bytes::from(text)).await.expect("rows");
        sink.as_mut().finish().await.expect("copied");
    }
    started.elapsed().as_secs_f64()
}

async fn calls(client: &Client, batches: &[Vec<Value>]) -> f64 {
    let bodies: Vec<Value> = batches.iter().map(|batch| Value::Array(batch.clone())).collect();
    let sql = "select verdict, usage_id, error_code, field, message from postmeter.record_usage_batch($1)";
    let statement = client.prepare(sql).await.expect("a statement");
    let started = Instant::now();
    for body in &bodies {
        let rows = client.query(&statement, &[body]).await.expect("recorded");
        assert!(rows.len() == BATCH && rows[0].get::<_, &str>("verdict") == "recorded");
    }
    started.elapsed().as_secs_f64()
}
