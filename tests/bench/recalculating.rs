//! Recalculating a whole month, and reading the balance: how long, and how much memory the client needs.

use std::time::Instant;

use crate::ground::{Ground, connect, open};
use crate::process::{Part, peak_mib};
use crate::report::{Report, Target, scaled};
use crate::seed;

const USAGES: usize = 5_000_000;
const METERS: usize = 10_000;

pub async fn run(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    let (usages, meters) = (scaled(USAGES), scaled(METERS));
    let url = ground.database("recalculate").await;
    let client = connect(&url).await;
    let count = |number: usize| i64::try_from(number).expect("few");
    seed::destination(&client, 9, 25, 8).await;
    seed::subscriptions(&client, count(meters)).await;
    seed::settled_month(&client, count(usages), count(meters)).await;
    let mut part = Part::start(&["child-recalculate", &url]);
    let line = part.line().await.expect("a measurement");
    part.end().await;
    let words: Vec<f64> = line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    let what = format!("a month of {usages} usages, {meters} meters, recalculated");
    report.note("recalculate", what, words[0], "s", Target::Below(60.0));
    report.note("recalculate", "peak memory of the client", words[1], "MiB", Target::Below(64.0));
    report.note("recalculate", "lines that were read", words[2], "", Target::None);
    let started = Instant::now();
    let open: i64 = client
        .query_one("select count(*) from (select * from postmeter.balance offset 0) b where b.difference <> 0", &[])
        .await
        .expect("the balance")
        .get(0);
    assert_eq!(open, 0, "it closes");
    report.note(
        "recalculate",
        "select * from postmeter.balance",
        started.elapsed().as_secs_f64(),
        "s",
        Target::Below(60.0),
    );
}

/// Recalculates last month; prints seconds, MiB at the peak, and how many lines there were.
pub async fn child(url: &str) {
    let last = "select (date_trunc('month', clock_timestamp(), 'UTC') - interval '1 month')::date";
    let month = connect(url).await.query_one(last, &[]).await.expect("a month").get(0);
    let (started, mut lines) = (Instant::now(), 0);
    let take = |part: outbox::recalculate::Part| {
        assert!(!part.is_unexplained(), "{part:?}");
        lines += 1;
    };
    outbox::recalculate::recalculate(&open(url), "aws", month, take).await.expect("recalculated");
    println!("{} {} {lines}", started.elapsed().as_secs_f64(), peak_mib());
}
