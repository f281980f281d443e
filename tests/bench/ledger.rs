//! Ten million attempts: every view asked about one thing, and every file of `sql/operations`, as somebody at psql does.

use std::time::Instant;

use serde_json::Value;
use tests::{Ledger, Question, indexes, walks};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::ground::{Ground, connect};
use crate::process::cpu_seconds;
use crate::report::{Report, Target, scaled};

/// Each question is asked once before, and then so often; the median counts.
const TURNS: usize = 5;
const LIMIT: Target = Target::Below(100.0);

/// A tenth of the size has a tenth of the orgs; each has as much as before.
fn size() -> Ledger {
    let scaled = |full: usize| u32::try_from(scaled(full)).expect("few");
    Ledger {
        orgs: scaled(5000),
        busy: scaled(310),
        every: 30,
        asked: scaled(44),
        hours: 2160,
        tries: 5,
        usages: 2,
        further: scaled(5000),
    }
}

pub async fn run(report: &mut Report) {
    // it is loaded with fsync off, and its log is kept short: what is measured reads only
    let ground = Ground::start(false, &[("max_wal_size", "1GB"), ("autovacuum", "off")]);
    let url = ground.database("ledger").await;
    let started = Instant::now();
    size().write(&connect(&url).await).await;
    report.note("ledger", "the ledger is written", started.elapsed().as_secs_f64(), "s", Target::None);
    questions(report, &url).await;
}

/// The table of all questions, on a database that is there.
pub async fn questions(report: &mut Report, url: &str) {
    let client = connect(url).await;
    for table in ["attempt", "outcome", "delivery", "usage", "allocation"] {
        let count = format!("select count(*) from postmeter.{table}");
        let rows: i64 = client.query_one(&count, &[]).await.expect("a count").get(0);
        report.note("ledger", format!("rows of {table}"), rows as f64, "", Target::None);
    }
    let bytes: i64 = client.query_one("select pg_database_size(current_database())", &[]).await.expect("a size").get(0);
    report.note("ledger", "the whole database", bytes as f64 / f64::from(1 << 30), "GiB", Target::None);
    let mut lines = Vec::new();
    for question in size().questions(&client).await {
        lines.push(ask(report, &client, &question, LIMIT).await);
    }
    table(&lines);
    let mut lines = Vec::new();
    for question in Ledger::whole() {
        lines.push(ask(report, &client, &question, Target::None).await);
    }
    table(&lines);
}

fn table(lines: &[String]) {
    println!("\n| question | rows | ms | CPU ms | jit on | pages | reads |\n|---|---|---|---|---|---|---|");
    for line in lines {
        println!("{line}");
    }
}

/// Asks one, and returns its line of the table: with the settings that it is to be asked with, then as it is asked by
/// somebody who knows of none.
async fn ask(report: &mut Report, client: &Client, question: &Question, limit: Target) -> String {
    let Question { name, settings, sql } = question;
    let turns = if matches!(limit, Target::None) { 1 } else { TURNS + 1 };
    client.batch_execute(settings).await.expect("settings");
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).await.expect("a process").get(0);
    let cpu = cpu_seconds(&pid.to_string());
    let (ms, rows) = timed(client, question, turns).await;
    // of all turns, in ticks of 10 ms: what it costs whoever else wants the processor
    let cpu = (cpu_seconds(&pid.to_string()) - cpu) * 1000.0 / turns as f64;
    report.note("ledger", name.as_str(), ms, "ms", limit);
    let explain = format!("explain (analyze, buffers, timing off, format json) {sql}");
    let plan: Value = client.query_one(&explain, &[]).await.expect("a plan").get(0);
    client.batch_execute("reset jit").await.expect("settings");
    let (unset, _) = timed(client, question, turns.min(3)).await;
    let plan = &plan[0]["Plan"];
    let pages = ["Shared Hit Blocks", "Shared Read Blocks"].map(|key| plan[key].as_i64().unwrap_or_default());
    let mut walked: Vec<&str> = walks(plan).iter().map(|walk| walk.table).collect();
    walked.sort_unstable();
    walked.dedup();
    let mut reads: Vec<String> = walked.iter().map(|table| format!("all of {table}")).collect();
    reads.extend(indexes(plan).into_iter().filter(|table| !walked.contains(table)).map(str::to_owned));
    format!("| `{name}` | {rows} | {ms:.1} | {cpu:.0} | {unset:.1} | {} | {} |", pages[0] + pages[1], reads.join(", "))
}

/// How many milliseconds, and how many rows; the first of several turns only warms.
async fn timed(client: &Client, question: &Question, turns: usize) -> (f64, usize) {
    let is_row = |message: &&SimpleQueryMessage| matches!(message, SimpleQueryMessage::Row(_));
    let (mut times, mut rows) = (Vec::new(), 0);
    for _ in 0..turns {
        let started = Instant::now();
        let answer = client.simple_query(&question.sql).await;
        times.push(started.elapsed());
        rows = answer.unwrap_or_else(|error| panic!("{}: {error:?}", question.name)).iter().filter(is_row).count();
    }
    if turns > 1 {
        times.remove(0);
    }
    times.sort_unstable();
    (times[times.len() / 2].as_secs_f64() * 1000.0, rows)
}
