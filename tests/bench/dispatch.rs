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

/// graphile-worker's `completeJobBatchDelay`: its default, and its fastest.
const THEIR_WAYS: [(i32, &str); 2] = [(-1, "as it comes"), (0, "completions batched")];

pub async fn run(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    let mut ours = Vec::new();
    let mut theirs = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        ours.push(dispatch(&ground, &format!("dispatch_{round}"), scaled(CALLS), 0, false).await);
        for (rates, (batch_delay, _)) in theirs.iter_mut().zip(THEIR_WAYS) {
            let name = format!("graphile_{round}{}", if batch_delay < 0 { "" } else { "_batched" });
            match graphile::dispatch(&ground, &name, scaled(CALLS / 2), batch_delay).await {
                Ok(rate) => rates.push(rate),
                Err(reason) => report.skip(&format!("dispatch beside graphile-worker ({name})"), &reason),
            }
        }
    }
    let ours = mean(&ours);
    report.note(
        "dispatch",
        format!("one record a call, {IN_FLIGHT} in flight, fsync on"),
        ours,
        "calls/s",
        Target::None,
    );
    for (rates, (batch_delay, way)) in theirs.iter().zip(THEIR_WAYS) {
        if !rates.is_empty() {
            let target = if batch_delay < 0 { Target::AtLeast(3.0) } else { Target::None };
            report.note("dispatch", format!("graphile-worker 0.17, {way}"), mean(rates), "calls/s", Target::None);
            report.note("dispatch", format!("ratio to graphile-worker, {way}"), ours / mean(rates), "", target);
        }
    }
}

pub fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / rates.len() as f64
}

/// Makes so many calls with a whole worker, of as many remittances; from the first call until so many outcomes are in
/// the ledger. Where calls are made again, these count too; what waits for its second call at the end is left.
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
    let (started, cpu, server) = (Instant::now(), cpu_seconds("self"), ground.cpu_seconds());
    while (answerer.answered().await as usize) < calls {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let recorded = "select count(*) from postmeter.outcome";
    while (client.query_one(recorded, &[]).await.expect("a count").get::<_, i64>(0) as usize) < calls {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let micros = |cpu: f64| cpu * 1e6 / calls as f64;
    println!(
        "  {name}: {calls} in {seconds:.1} s; CPU us a call: worker {:.0}, Postgres {:.0}, answerer {:.0}",
        micros(cpu_seconds("self") - cpu),
        micros(ground.cpu_seconds() - server),
        micros(answerer.cpu_seconds())
    );
    let batches = "select count(*)::double precision / count(distinct claimed_at) from postmeter.attempt";
    let batch: f64 = client.query_one(batches, &[]).await.expect("a count").get(0);
    println!("  {name}: {batch:.1} deliveries a claim");
    stop.cancel();
    running.await.expect("a worker").expect("it stops");
    drop(snapshot);
    calls as f64 / seconds
}
