//! Recording usage, beside the plain INSERT, the plain COPY and the JSON into a plain table that a service would write instead.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::ground::{self, Ground, connect};
use crate::report::{Report, Target, scaled};

const CLIENTS: usize = 8;
const BATCH: usize = 500;
const ROUNDS: usize = 3;

const PLAIN: &str = "
    create table plain (
        source text not null, event_id text not null, org text not null, product text not null, metric text not null,
        quantity numeric not null, used_at timestamptz not null, account text, corrects text, request_id text,
        traceparent text, attributes jsonb not null, unique (source, event_id));
    create table plain_batch (like plain including all);
    create table plain_json (like plain including all)";
const INSERT: &str =
    "insert into plain (source, event_id, org, product, metric, quantity, used_at, request_id, attributes)
    values ($1, $2, $3, $4, $5, $6, now(), $7, $8)";
const RECORD: &str = "select postmeter.record_usage($1, $2, $3, $4, $5, $6, now(), request_id => $7, attributes => $8)";

/// The same parsing, without any of the rules.
const JSON: &str =
    "insert into plain_json (source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                            request_id, traceparent, attributes)
    select u ->> 'source', u ->> 'event_id', u ->> 'org', u ->> 'product', u ->> 'metric', (u ->> 'quantity')::numeric,
           (u ->> 'used_at')::timestamptz, u ->> 'account', u ->> 'corrects', u ->> 'request_id', u ->> 'traceparent',
           u -> 'attributes'
    from jsonb_array_elements($1) u";

pub async fn run(report: &mut Report) {
    for durable in [true, false] {
        let how = if durable { "fsync on" } else { "fsync off" };
        let ground = Ground::start(durable, &[]);
        let url = ground.database("recording").await;
        let client = connect(&url).await;
        client.batch_execute(PLAIN).await.expect("plain tables");
        println!("{}", ground::settings(&client).await);
        one_by_one(report, &ground, &url, how).await;
        in_batches(report, &ground, &url, how).await;
        under_a_snapshot(report, &url, how).await;
    }
}

/// Rows a second, and microseconds of Postgres' CPU a row.
#[derive(Clone, Copy, Default)]
struct Figures {
    rows: f64,
    seconds: f64,
    cpu: f64,
}

impl Figures {
    fn add(&mut self, rows: usize, seconds: f64, cpu: f64) {
        *self = Self { rows: self.rows + rows as f64, seconds: self.seconds + seconds, cpu: self.cpu + cpu };
    }

    fn note(self, report: &mut Report, what: &str) {
        report.note("recording", what, self.rows / self.seconds, "rows/s", Target::None);
        report.note(
            "recording",
            format!("{what}, CPU of Postgres"),
            self.cpu / self.rows * 1e6,
            "us/row",
            Target::None,
        );
    }

    /// Beside a rival: of the clock and of the CPU.
    fn beside(self, rival: Self, report: &mut Report, what: &str, target: f64) {
        let wall = (self.rows / self.seconds) / (rival.rows / rival.seconds);
        report.note("recording", format!("ratio, {what}"), wall, "", Target::AtLeast(target));
        let cpu = (rival.cpu / rival.rows) / (self.cpu / self.rows);
        report.note("recording", format!("ratio of CPU, {what}"), cpu, "", Target::None);
    }
}

/// One-row transactions of eight clients; the two sides take turns, so that both meet the same noise.
async fn one_by_one(report: &mut Report, ground: &Ground, url: &str, how: &str) {
    let length = Duration::from_millis(scaled(4000) as u64);
    let mut figures = [Figures::default(); 2];
    for round in 0..ROUNDS {
        for (figures, sql) in figures.iter_mut().zip([INSERT, RECORD]) {
            let cpu = ground.cpu_seconds();
            let (rows, seconds) = singles(url, sql, round, length).await;
            figures.add(rows, seconds, ground.cpu_seconds() - cpu);
        }
    }
    figures[0].note(report, &format!("bare INSERT, {CLIENTS} clients, {how}"));
    figures[1].note(report, &format!("record_usage, {CLIENTS} clients, {how}"));
    figures[1].beside(figures[0], report, &format!("one row a transaction, {how}"), 0.55);
}

async fn singles(url: &str, sql: &'static str, round: usize, length: Duration) -> (usize, f64) {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connect(url).await);
    }
    let started = Instant::now();
    let mut tasks = Vec::new();
    for (number, client) in clients.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            let statement = client.prepare(sql).await.expect("a statement");
            let mut rows = 0_usize;
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
    (rows, started.elapsed().as_secs_f64())
}

/// Transactions of 500 rows from one client, four ways in turn.
async fn in_batches(report: &mut Report, ground: &Ground, url: &str, how: &str) {
    let client = connect(url).await;
    let batches = scaled(40);
    let mut figures = [Figures::default(); 4];
    let now = ground::now(&client).await;
    for round in 0..ROUNDS {
        for (number, figures) in figures.iter_mut().enumerate() {
            let rows: Vec<Vec<Value>> = (0..batches)
                .map(|batch| {
                    (0..BATCH).map(|n| usage(&format!("{number}-{round}-{batch:0>4}-{n:0>4}"), n, &now)).collect()
                })
                .collect();
            let cpu = ground.cpu_seconds();
            let seconds = match number {
                0 => copies(&client, "plain_batch", &rows).await,
                1 => plainly(&client, &rows).await,
                2 => calls(&client, &rows).await,
                _ => copies(&client, "postmeter.outbox", &rows).await,
            };
            figures.add(batches * BATCH, seconds, ground.cpu_seconds() - cpu);
        }
    }
    let [copied, parsed, recorded, outbox] = figures;
    copied.note(report, &format!("COPY of {BATCH} into a plain table, {how}"));
    parsed.note(report, &format!("JSON of {BATCH} into a plain table, {how}"));
    recorded.note(report, &format!("record_usage_batch of {BATCH}, {how}"));
    outbox.note(report, &format!("COPY of {BATCH} into the outbox, {how}"));
    recorded.beside(parsed, report, &format!("record_usage_batch to JSON into a plain table, {how}"), 0.5);
    outbox.beside(copied, report, &format!("COPY into the outbox to COPY into a plain table, {how}"), 0.4);
}

/// Eight transactions of a thousand INSERTs each, while another transaction keeps an old snapshot: what each statement
/// leaves for others to look through would be paid by all.
async fn under_a_snapshot(report: &mut Report, url: &str, how: &str) {
    let mut old = connect(url).await;
    let held = old.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).start().await;
    let held = held.expect("a transaction");
    held.batch_execute("select from plain limit 1").await.expect("a snapshot");
    let mut figures = [Figures::default(); 2];
    for round in 0..ROUNDS {
        for (number, (figures, table)) in figures.iter_mut().zip(["plain", "postmeter.outbox"]).enumerate() {
            let started = Instant::now();
            let mut tasks = Vec::new();
            for task in 0..CLIENTS {
                let client = connect(url).await;
                tasks.push(tokio::spawn(long(client, table, format!("long-{number}-{round}-{task}"))));
            }
            let mut rows = 0;
            for task in tasks {
                rows += task.await.expect("a client");
            }
            figures.add(rows, started.elapsed().as_secs_f64(), 0.0);
        }
    }
    let rate = |figures: Figures| figures.rows / figures.seconds;
    for (figures, what) in figures.iter().zip(["a plain table", "the outbox"]) {
        let what = format!("1,000 INSERTs a transaction into {what}, old snapshot, {how}");
        report.note("recording", what, rate(*figures), "rows/s", Target::None);
    }
    let what = format!("ratio, 1,000 INSERTs a transaction, old snapshot, {how}");
    report.note("recording", what, rate(figures[1]) / rate(figures[0]), "", Target::None);
}

async fn long(mut client: Client, table: &'static str, name: String) -> usize {
    let rows = scaled(1000);
    let sql = format!(
        "insert into {table} (source, event_id, org, product, metric, quantity, used_at, request_id, attributes)
         values ('bench', $1, $2, 'db', 'cores', 3, now(), 'req-1', '{{\"region\": \"eu-west-1\"}}')"
    );
    let open = client.transaction().await.expect("a transaction");
    let statement = open.prepare(&sql).await.expect("a statement");
    for n in 0..rows {
        let (event, org) = (format!("{name}-{n:0>6}"), format!("org-{}", n % 1000));
        open.execute(&statement, &[&event, &org]).await.expect("recorded");
    }
    open.commit().await.expect("committed");
    rows
}

fn usage(event: &str, n: usize, now: &str) -> Value {
    json!({
        "source": "bench", "event_id": event, "org": format!("org-{}", n % 1000), "product": "db", "metric": "cores",
        "quantity": (n % 7 + 1).to_string(), "used_at": now, "request_id": "req-1",
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

async fn plainly(client: &Client, batches: &[Vec<Value>]) -> f64 {
    let bodies: Vec<Value> = batches.iter().map(|batch| Value::Array(batch.clone())).collect();
    let statement = client.prepare(JSON).await.expect("a statement");
    let started = Instant::now();
    for body in &bodies {
        client.execute(&statement, &[body]).await.expect("inserted");
    }
    started.elapsed().as_secs_f64()
}
