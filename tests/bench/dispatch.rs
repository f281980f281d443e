//! Sending: one record a call, every attempt in the ledger before its call, 64 calls in flight.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use worker::{Options, Worker};

use crate::answerer::Answerer;
use crate::ground::{Ground, connect, hold_snapshot, open};
use crate::process::cpu_seconds;
use crate::report::{Report, Target, scaled};
use crate::{graphile, seed};

const CALLS: usize = 40_000;
const IN_FLIGHT: i32 = 64;
const ROUNDS: usize = 2;

pub async fn run(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    let mut rates = Vec::new();
    let mut theirs = Vec::new();
    for round in 0..ROUNDS {
        rates.push(dispatch(&ground, &format!("dispatch_{round}"), scaled(CALLS), 0, false).await);
        match graphile::dispatch(&ground, &format!("graphile_{round}"), scaled(CALLS / 2)).await {
            Ok(rate) => theirs.push(rate),
            Err(reason) => {
                report.skip("dispatch beside graphile-worker", &reason);
                break;
            }
        }
    }
    let ours = mean(&rates);
    report.note("dispatch", format!("one record a call, {IN_FLIGHT} in flight, fsync on"), ours, "calls/s", Target::None);
    if theirs.len() == ROUNDS {
        let what = "graphile-worker 0.17: the same POST, one INSERT";
        report.note("dispatch", what, mean(&theirs), "calls/s", Target::None);
        report.note("dispatch", "ratio to graphile-worker", ours / mean(&theirs), "", Target::AtLeast(3.0));
    }
}

pub fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / rates.len() as f64
}

/// Sends so many remittances with a whole worker; from the first call to the last outcome, in deliveries a second.
pub async fn dispatch(ground: &Ground, name: &str, calls: usize, unprocessed_every: u64, hold: bool) -> f64 {
    let answerer = Answerer::start(unprocessed_every).await;
    let url = ground.database(name).await;
    let client = connect(&url).await;
    seed::destination(&client, answerer.port, 1, IN_FLIGHT).await;
    seed::due(&client, 1, i64::try_from(calls).expect("few")).await;
    client.batch_execute("checkpoint").await.expect("a checkpoint");
    let snapshot = if hold { Some(hold_snapshot(&url).await) } else { None };
    let options = Options { open: tests::aws_with_test_keys, ..Options::default() };
    let worker = Worker::start(open(&url), options).await.expect("a worker");
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(stop).await }
    });
    while answerer.answered().await == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (started, cpu) = (Instant::now(), cpu_seconds("self"));
    while (answerer.answered().await as usize) < calls {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let accepted = "select count(*) from postmeter.outcome where outcome = 'accepted'";
    while (client.query_one(accepted, &[]).await.expect("a count").get::<_, i64>(0) as usize) < calls {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "  {name}: {calls} in {seconds:.1} s; CPU seconds: worker {:.1}, answerer {:.1}",
        cpu_seconds("self") - cpu,
        answerer.cpu_seconds()
    );
    stop.cancel();
    running.await.expect("a worker").expect("it stops");
    drop(snapshot);
    calls as f64 / seconds
}
