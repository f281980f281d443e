//! The proof of the balance over a large ledger: an hour's writes, and everything read again.

use std::time::{Duration, Instant};

use outbox::proof::Proof;
use tokio_postgres::Client;

use crate::ground::{Ground, connect, open};
use crate::report::{Report, Target, scaled};

/// Each hour has as much at any scale: 2,000 remittances of 35 usages; a smaller ledger has fewer hours.
const HOURS: usize = 715;
const METERS: usize = 2000;
const USAGES: usize = 35;
const DAY: Duration = Duration::from_secs(86_400);

pub async fn run(report: &mut Report) {
    // it is loaded with fsync off, and its log is kept short: what is measured reads nearly everything
    let ground = Ground::start(false, &[("max_wal_size", "1GB"), ("autovacuum", "off")]);
    let url = ground.database("proof").await;
    let client = connect(&url).await;
    let hours = scaled(HOURS).max(3);
    let started = Instant::now();
    fill(&client, hours).await;
    let note = |report: &mut Report, what: &str, figure: f64, unit: &'static str| {
        report.note("proof", what, figure, unit, Target::None);
    };
    report.note(
        "proof",
        format!("a ledger of {} usages is written", hours * METERS * USAGES),
        started.elapsed().as_secs_f64(),
        "s",
        Target::None,
    );
    let bytes: i64 = client.query_one("select pg_database_size(current_database())", &[]).await.expect("a size").get(0);
    note(report, "the whole database", bytes as f64 / f64::from(1 << 30), "GiB");
    let database = open(&url);
    let started = Instant::now();
    let mut whole = Proof::new(&database, DAY);
    assert!(whole.prove_moved().await.expect("proven") && whole.prove_asked().await.expect("read"));
    whole.read_again(true).await.expect("read");
    note(report, "everything is read", started.elapsed().as_secs_f64(), "s");
    note(report, "remittances that were read for it", whole.read().remittances as f64, "");
    assert_eq!(whole.found().await.expect("found").open, 0, "it closes");
    client.batch_execute(&sql("-- an hour", hours)).await.expect("an hour's writes");
    let started = Instant::now();
    let mut hour = Proof::new(&database, DAY);
    assert!(hour.prove_moved().await.expect("proven"));
    let took = started.elapsed().as_secs_f64();
    let what = format!("an hour's proof: {METERS} remittances of {USAGES} usages");
    report.note("proof", what, took, "s", Target::Below(5.0));
    let read = hour.read();
    assert_eq!(read.remittances, i64::try_from(METERS).expect("few"), "and nothing else is read");
    assert_eq!(read.meters, read.remittances, "all of them are proven");
    assert_eq!(hour.found().await.expect("found").open, 0, "it closes");
    let bytes: i64 = client
        .query_one("select sum(pg_total_relation_size(c.oid))::bigint from pg_class c where c.relname in ('proven_meter', 'proven_remittance')", &[])
        .await
        .expect("a size")
        .get(0);
    note(report, "what is kept", bytes as f64 / f64::from(1 << 20), "MiB");
}

/// A part of `proving.sql`, which begins with this comment.
fn sql(part: &str, hours: usize) -> String {
    let all = include_str!("proving.sql");
    let from = all.find(part).expect("the part");
    let until = all[from + 1..].find("\n-- part: ").map_or(all.len(), |at| from + 1 + at);
    let number = |number: usize| number.to_string();
    all[from..until]
        .replace("{hours}", &number(hours))
        .replace("{meters}", &number(METERS))
        .replace("{usages}", &number(USAGES))
}

async fn fill(client: &Client, hours: usize) {
    client.batch_execute(&sql("-- part: the catalogue", hours)).await.expect("the catalogue");
    for hour in 0..hours {
        let one = sql("-- part: one hour of the ledger", hours).replace("{hour}", &hour.to_string());
        client.batch_execute(&one).await.expect("an hour of the ledger");
    }
    client.batch_execute(&sql("-- part: the sums", hours)).await.expect("the sums");
    client.batch_execute("vacuum analyze").await.expect("statistics");
}
