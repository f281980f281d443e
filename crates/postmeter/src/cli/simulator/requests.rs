//! `postmeter simulator requests`: traffic as an upload service has it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use outbox::track::{NewStatus, track_batch};
use serde_json::json;
use uuid::Uuid;

use crate::cli::Context;
use crate::cli::output::{self, Wrong};

/// Requests that are on their way at once: their messages come mixed.
const TOGETHER: u64 = 50;

/// Service, source, status, and milliseconds after the first message.
const SCRIPT: [(&str, &str, &str, i64); 11] = [
    ("ingress", "", "received", 0),
    ("ingress", "", "processing", 120),
    ("ingress", "", "success", 400),
    ("ingress", "", "announced", 450),
    ("advisor-pup", "", "received", 900),
    ("advisor-pup", "inventory", "success", 2_600),
    ("insights-advisor-service", "", "received", 2_900),
    ("insights-advisor-service", "insights-client", "processing", 3_100),
    ("insights-advisor-service", "insights-client", "success", 4_800),
    ("insights-advisor-service", "vulnerability", "processing", 5_000),
    ("insights-advisor-service", "vulnerability", "success", 7_300),
];

/// Number of messages after which some service has begun and not finished.
const BEGUN: [usize; 5] = [1, 2, 5, 7, 8];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many requests.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    requests: u64,
    /// Requests a second; without it, as fast as it goes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: Option<u64>,
    /// Percentage of requests that are never finished.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=100))]
    unfinished: u8,
    /// Percentage of requests that fail.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=100))]
    failed: u8,
}

pub(super) async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    if u16::from(args.unfinished) + u16::from(args.failed) > 100 {
        return Err(Wrong("--unfinished and --failed together are more than 100".to_owned()).into());
    }
    let database = context.config.database()?;
    if outbox::catalogue::purpose(&database).await? == "production" {
        return Err(
            Wrong("this database is for production: made-up requests would stand beside real ones".to_owned()).into()
        );
    }
    let stop = crate::cli::worker::stop_at_signal()?;
    let started = Instant::now();
    let (mut requests, mut messages) = (0_u64, 0_usize);
    let mut client = database.client().await?;
    while requests < args.requests && !stop.is_cancelled() {
        let now = outbox::maintain::clock(&database).await?;
        let count = TOGETHER.min(args.requests - requests);
        let mut batch: Vec<NewStatus> = (0..count).flat_map(|_| request(now, args)).collect();
        batch.sort_by_key(|message| message.date);
        let transaction = outbox::begin(&mut client).await?;
        track_batch(&transaction, &batch).await.map_err(outbox::Error::from)?;
        transaction.commit().await.map_err(outbox::Error::from)?;
        requests += count;
        messages += batch.len();
        if let Some(rate) = args.rate {
            let due = Duration::from_secs_f64(requests as f64 / rate as f64);
            stop.run_until_cancelled(tokio::time::sleep(due.saturating_sub(started.elapsed()))).await;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    if context.json {
        output::json(&json!({ "requests": requests, "messages": messages, "seconds": seconds }))?;
    } else {
        output::say(format!("{requests} requests, {messages} messages in {seconds:.1} s"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The messages of one request that ends about now: all, or those until it stops or fails.
fn request(now: Timestamp, args: &Args) -> Vec<NewStatus> {
    let id = Uuid::new_v4();
    let draw = id.as_bytes();
    // both forms are in use, and both are the same request
    let text = if draw[0] < 128 { id.to_string() } else { id.simple().to_string() };
    let fate = u8::try_from(u16::from_be_bytes([draw[1], draw[2]]) % 100).expect("below 100");
    let (is_unfinished, fails) =
        (fate < args.unfinished, fate >= args.unfinished && fate < args.unfinished + args.failed);
    let ends = match (is_unfinished, fails) {
        (true, _) => BEGUN[usize::from(draw[3]) % BEGUN.len()],
        (_, true) => 1 + usize::from(draw[3]) % (SCRIPT.len() - 1),
        _ => SCRIPT.len(),
    };
    let customer = u16::from_be_bytes([draw[4], draw[5]]) % 500;
    let speed = 50 + i64::from(draw[7]);
    let begun = now - SignedDuration::from_millis(8_000 + 20 * i64::from(draw[9]));
    let message = |(service, source, status, after): (&str, &str, &str, i64)| {
        let mut message = NewStatus::new(service, &text, status);
        message.date = Some(begun + SignedDuration::from_millis(after * speed / 200));
        message.source = (!source.is_empty()).then(|| source.to_owned());
        message.org = Some(format!("org-{customer}"));
        message.account = Some(format!("account-{customer}"));
        message
    };
    let mut all: Vec<NewStatus> = SCRIPT[..ends].iter().copied().map(message).collect();
    for message in all.iter_mut().skip(5) {
        message.inventory_id = Some(Uuid::from_u128(id.as_u128().rotate_left(17)).to_string());
    }
    if fails {
        let (service, source, _, after) = SCRIPT[ends - 1];
        let mut last = message((service, source, "error", after + 500));
        last.status_msg = Some(format!("{service} could not go on"));
        all.push(last);
    }
    all
}
