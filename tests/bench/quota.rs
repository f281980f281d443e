//! D12: a quota of ten calls a second, shared by two workers and two destinations, against the simulator's own bucket.

use std::time::Duration;

use serde_json::json;

use crate::ground::{Ground, connect};
use crate::marketplace::Marketplace;
use crate::process::Part;
use crate::report::{Report, Target, scaled};
use crate::seed;

const REMITTANCES: usize = 10_000;
const WINDOW: Duration = Duration::from_secs(10);

pub async fn run(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    let url = ground.database("quota").await;
    let client = connect(&url).await;
    let aws = Marketplace::start().await;
    aws.set(&json!({ "aws": { "rate": { "calls_per_second": 10.0, "burst": 10 } } })).await;
    seed::destination(&client, aws.port, 25, 8).await;
    let remittances = i64::try_from(scaled(REMITTANCES)).expect("few");
    seed::due(&client, 1, remittances).await;
    client
        .batch_execute(
            "update postmeter.quota set calls_per_second = 10;
             insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max)
             select 'aws-too', kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max
             from postmeter.destination;
             update postmeter.delivery d set destination_id = t.id from postmeter.destination t where t.name = 'aws-too' and d.id % 2 = 0;
             update postmeter.due q set destination_id = d.destination_id from postmeter.delivery d where d.id = q.delivery_id;
             analyze postmeter.delivery; analyze postmeter.due",
        )
        .await
        .expect("a second destination");
    let workers = [Part::start(&["child-work", &url]), Part::start(&["child-work", &url])];
    let accepted = "select count(*) from postmeter.delivery where status = 'accepted'";
    while client.query_one(accepted, &[]).await.expect("a count").get::<_, i64>(0) < remittances {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for worker in workers {
        worker.end().await;
    }
    let calls = aws.all("calls", "calls").await;
    let throttled = calls.iter().filter(|call| call["error"] == "ThrottlingException").count();
    let mut at: Vec<u64> = calls.iter().map(|call| call["elapsed_us"].as_u64().expect("a time")).collect();
    at.sort_unstable();
    let what = |what: &str| format!("{remittances} due, 2 workers, 2 destinations of one quota: {what}");
    report.note("quota", what("throttled answers"), throttled as f64, "calls", Target::Below(1.0));
    match worst(&at) {
        Some(calls) => {
            let rate = calls as f64 / WINDOW.as_secs_f64();
            report.note("quota", what("worst 10 s after the first"), rate, "calls/s", Target::AtLeast(9.5));
        }
        None => report.skip("quota", "too short a run for a window of 10 s after the first"),
    }
    report.note("quota", what("calls in all"), at.len() as f64, "calls", Target::None);
}

/// Calls in the emptiest window that begins 10 s after the first call or later: each begins just after a call.
fn worst(at: &[u64]) -> Option<usize> {
    let window = u64::try_from(WINDOW.as_micros()).expect("short");
    let (first, last) = (at.first()?, at.last()?);
    let begins = at.iter().filter(|begin| **begin >= first + window && **begin + window <= *last);
    begins.map(|begin| at.iter().filter(|call| **call > *begin && **call <= begin + window).count()).min()
}
