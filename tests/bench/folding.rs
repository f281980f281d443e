//! Folding a backlog: one worker, in a process that does nothing else.

use std::time::Instant;

use worker::{Options, Worker};

use crate::ground::{Ground, connect, hold_snapshot, open};
use crate::process::{Part, peak_mib};
use crate::report::{Report, Target, scaled};
use crate::seed;

const ENTRIES: usize = 1_000_000;
const METERS: usize = 10_000;

pub async fn run(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    let entries = scaled(ENTRIES);
    let folded = fold(&ground, "fold", entries, scaled(METERS), false).await;
    let what = format!("one worker, backlog {entries}, {} meters, fsync on", scaled(METERS));
    report.note("fold", what, folded.rate, "usages/s", Target::AtLeast(40_000.0));
    report.note("fold", "peak memory of the worker", folded.peak_mib, "MiB", Target::Below(64.0));
}

/// What a child measured.
pub struct Folded {
    pub rate: f64,
    pub peak_mib: f64,
}

/// Folds a backlog in a child, on a database of its own.
pub async fn fold(ground: &Ground, name: &str, entries: usize, meters: usize, hold: bool) -> Folded {
    let url = ground.database(name).await;
    let client = connect(&url).await;
    seed::destination(&client, 9, 25, 8).await;
    seed::subscriptions(&client, i64::try_from(meters).expect("few")).await;
    seed::backlog(&client, i64::try_from(entries).expect("few"), i64::try_from(meters).expect("few")).await;
    let snapshot = if hold { Some(hold_snapshot(&url).await) } else { None };
    let mut part = Part::start(&["child-fold", &url]);
    let line = part.line().await.expect("a measurement");
    part.end().await;
    drop(snapshot);
    let words: Vec<f64> = line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    let allocated: i64 =
        client.query_one("select count(*) from postmeter.allocation", &[]).await.expect("a count").get(0);
    assert_eq!(usize::try_from(allocated).expect("many"), entries, "everything was folded");
    Folded { rate: words[0], peak_mib: words[1] }
}

/// Folds until nothing is left; prints usages a second and MiB at the peak.
pub async fn child(url: &str) {
    let options = Options { open: tests::aws_with_test_keys, ..Options::default() };
    let worker = Worker::start(open(url), options).await.expect("a worker");
    let (started, mut taken, mut empty) = (Instant::now(), 0, 0);
    let mut ended = started;
    while empty < 2 {
        let folded = worker.fold().await.expect("folded");
        taken += folded.taken;
        if folded.taken == 0 {
            empty += 1;
        } else {
            (empty, ended) = (0, Instant::now());
        }
    }
    println!("{} {}", taken as f64 / (ended - started).as_secs_f64(), peak_mib());
}
