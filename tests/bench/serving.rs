//! The console: recording over HTTP beside the same batches over SQL, and exports, whose size must not show in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use outbox::{Access, Database};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::ground::{Ground, connect, open};
use crate::process::{Part, peak_mib_of, until_parent_is_done};
use crate::report::{Report, Target, scaled};
use crate::seed;

const CLIENTS: usize = 4;
const BATCH: usize = 500;
const ROUNDS: usize = 4;

/// A console in a process of its own, with the rights of its role and these further options of its sessions.
#[expect(clippy::print_stdout, reason = "the parent reads the address")]
pub async fn child(url: &str, further: &str) {
    let mark = if url.contains('?') { '&' } else { '?' };
    let access = Access::new(&format!("{url}{mark}options=-c%20role%3Dpostmeter_console{further}"));
    let database = Database::open(&access).expect("a URL");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    println!("http://{}", listener.local_addr().expect("an address"));
    let options = console::Options { requests_per_minute: 10_000_000, ..Default::default() };
    let catalogue = Arc::new(postmeter::cli::Catalogue);
    console::serve(listener, database, catalogue, options, until_parent_is_done()).await.expect("it serves");
}

pub async fn run(report: &mut Report) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ground = Ground::start(true, &[]);
    let url = ground.database("serving").await;
    let token = console::new_token();
    let scopes = ["intake", "read"].map(str::to_owned);
    outbox::tokens::create(&open(&url), "bench", &token, &scopes, None, "bench").await.expect("a token");
    let client = connect(&url).await;
    seed::destination(&client, 1, 25, 8).await;
    recording(report, &url, &token).await;
    exporting(report, &url, &token).await;
}

/// Clients that send batches at the same time, in turn over SQL and over HTTP.
async fn recording(report: &mut Report, url: &str, token: &str) {
    let mut part = Part::start(&["child-console", url]);
    let address = part.line().await.expect("an address");
    let http = reqwest::Client::new();
    let batches = scaled(20);
    let clock = "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    let used_at: String = connect(url).await.query_one(clock, &[]).await.expect("a clock").get(0);
    let mut seconds = [0.0; 2];
    for round in 0..ROUNDS {
        for (way, seconds) in ["sql", "http"].into_iter().zip(&mut seconds) {
            let bodies = |client: usize| -> Vec<Value> {
                (0..batches).map(|batch| body(&format!("{way}-{round}-{client}-{batch}"), &used_at)).collect()
            };
            let bodies: Vec<Vec<Value>> = (0..CLIENTS).map(bodies).collect();
            let texts: Vec<Vec<String>> =
                bodies.iter().map(|bodies| bodies.iter().map(Value::to_string).collect()).collect();
            let mut sessions = Vec::new();
            for _ in 0..CLIENTS {
                sessions.push(connect(url).await);
            }
            let started = Instant::now();
            if way == "sql" {
                join_all(sessions.iter().zip(&bodies).map(|(client, bodies)| over_sql(client, bodies))).await;
            } else {
                join_all(texts.into_iter().map(|texts| over_http(&http, &address, token, texts))).await;
            }
            *seconds += started.elapsed().as_secs_f64();
        }
    }
    let stored: i64 =
        connect(url).await.query_one("select count(*) from postmeter.usage", &[]).await.expect("usage").get(0);
    assert_eq!(stored as usize, 2 * ROUNDS * CLIENTS * batches * BATCH, "every usage is a row of its own");
    let rates = seconds.map(|seconds| (ROUNDS * CLIENTS * batches * BATCH) as f64 / seconds);
    report.note(
        "console",
        format!("record_usage_batch of {BATCH}, {CLIENTS} clients, fsync on"),
        rates[0],
        "rows/s",
        Target::None,
    );
    report.note(
        "console",
        format!("POST /v1/usage of {BATCH}, {CLIENTS} clients, fsync on"),
        rates[1],
        "rows/s",
        Target::AtLeast(10_000.0),
    );
    report.note("console", "ratio, HTTP to SQL batches", rates[1] / rates[0], "", Target::AtLeast(0.5));
    part.end().await;
}

fn body(batch: &str, used_at: &str) -> Value {
    (0..BATCH)
        .map(|n| {
            json!({"source": "bench", "event_id": format!("{batch}-{n}"), "org": format!("org-{}", n % 1000), "product": "db",
                   "metric": "cores", "quantity": (n % 7 + 1).to_string(), "used_at": used_at, "request_id": "req-1",
                   "attributes": {"region": "eu-west-1"}})
        })
        .collect()
}

async fn over_sql(client: &tokio_postgres::Client, bodies: &[Value]) {
    let sql = "select verdict, usage_id, error_code, field, message from postmeter.record_usage_batch($1)";
    let statement = client.prepare(sql).await.expect("a statement");
    for body in bodies {
        let rows = client.query(&statement, &[body]).await.expect("recorded");
        assert!(rows.len() == BATCH && rows[0].get::<_, &str>("verdict") == "recorded");
    }
}

async fn over_http(http: &reqwest::Client, address: &str, token: &str, bodies: Vec<String>) {
    for body in bodies {
        let request = http.post(format!("{address}/v1/usage")).bearer_auth(token);
        let response = request.header("content-type", "application/json").body(body).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 202);
        let answer = response.bytes().await.expect("a body");
        assert!(answer.starts_with(b"{\"recorded\":500,"));
    }
}

/// A million remittances, written out whole.
async fn exporting(report: &mut Report, url: &str, token: &str) {
    let rows = scaled(1_000_000);
    let client = connect(url).await;
    seed::due(&client, 1, rows as i64).await;
    client
        .batch_execute(&format!(
            "insert into postmeter.meter (id, destination_id, buyer, dimension, month, rounding, decimals, month_end)
             overriding system value
             select n, t.id, 'aws/us-east-1/prod9/' || lpad(n::text, 12, '0'), 'cores', date_trunc('month', clock_timestamp())::date,
                    'up', 0, 'round_up'
             from postmeter.destination t, generate_series(1, {rows}) n;
             analyze postmeter.meter; analyze postmeter.delivery"
        ))
        .await
        .expect("meters");
    let mut part = Part::start(&["child-console", url]);
    let address = part.line().await.expect("an address");
    let http = reqwest::Client::new();
    for format in ["ndjson", "csv"] {
        let started = Instant::now();
        let request = http.get(format!("{address}/v1/remittances?format={format}&sort=delivery_id")).bearer_auth(token);
        let mut response = request.send().await.expect("an answer");
        let (mut lines, mut bytes) = (0, 0);
        while let Some(chunk) = response.chunk().await.expect("it comes to its end") {
            lines += chunk.iter().filter(|byte| **byte == b'\n').count();
            bytes += chunk.len();
        }
        assert_eq!(lines, rows + usize::from(format == "csv"), "{format}: every row");
        let seconds = started.elapsed().as_secs_f64();
        let what = format!("export of {rows} remittances as {format}, {} MB", bytes / 1_000_000);
        report.note("console", what, rows as f64 / seconds, "rows/s", Target::None);
    }
    let mut pages = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        let page =
            http.get(format!("{address}/v1/remittances?count=true")).bearer_auth(token).send().await.expect("a page");
        assert_eq!(page.status().as_u16(), 200);
        let _ = page.bytes().await.expect("a body");
        pages.push(started.elapsed());
    }
    pages.sort();
    let median: Duration = pages[pages.len() / 2];
    report.note(
        "console",
        format!("page of 50 with count, of {rows}, median"),
        median.as_secs_f64() * 1000.0,
        "ms",
        Target::None,
    );
    let peak = peak_mib_of(&part.process.id().expect("it runs").to_string());
    report.note(
        "console",
        format!("peak memory of the console, after both exports of {rows}"),
        peak,
        "MiB",
        Target::Below(128.0),
    );
    part.end().await;
}
