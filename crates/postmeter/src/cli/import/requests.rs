//! `postmeter import requests`: what services said, from a file or a pipe of one JSON object a line.

mod lines;

use std::io::Read;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::ProgressBar;
use outbox::Database;
use outbox::track::{self, Door, Malformed, NewStatus, Refusals, Rule, Tracked};
use serde::Serialize;
use serde_json::json;

use self::lines::Line;
use super::list::{Kind, List, Listed};
use super::{NEEDS_A_PERSON, RequestsArgs, bar, open, output, sink, stop_on_interrupt};
use crate::cli::Context;

/// Messages of one transaction.
const BATCH: usize = 500;

/// How long the first message of a transaction waits for others: what comes through a pipe is seen within a second.
const FLUSH_AFTER: Duration = Duration::from_millis(500);
/// How long a stopped import waits for what is on its way from a pipe.
const QUIET: Duration = Duration::from_millis(300);

/// How far back days get a partition before the first message; the retention bounds it.
const DAYS_BACK: i32 = 366;

/// What an import did.
#[derive(Debug, Default, Serialize)]
struct Counts {
    lines: u64,
    recorded: u64,
    repeated: u64,
    rejected: u64,
}

pub(super) async fn run(context: &Context, args: &RequestsArgs) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let (file, size) = open(&args.file)?;
    let bar = bar(size);
    let mut list = List::new(sink(args.rejects.as_deref(), &bar)?)?;
    match outbox::requests::create_partitions(&database, DAYS_BACK).await {
        // a producer may not; then what is older waits in the default partition for a worker
        Err(outbox::Error::Unexpected { code, .. }) if code == "42501" => {}
        other => drop(other?),
    }
    let mut import = Import {
        database: &database,
        list: &mut list,
        counts: Counts::default(),
        batch: Vec::new(),
        refusals: Refusals::default(),
        last: 0,
        done: 0,
        since: None,
    };
    let stopped_at = import.read(Box::new(bar.wrap_read(file)), &bar).await;
    let counts = import.counts;
    bar.finish_and_clear();
    list.flush()?;
    let stopped_at = stopped_at?;
    if context.json {
        output::json(&json!({
            "file": args.file,
            "finished": stopped_at.is_none(),
            "stopped_at_line": stopped_at,
            "counts": counts,
            "listed": list.groups(),
        }))?;
    } else {
        let Counts { lines, recorded, repeated, rejected } = counts;
        output::say(format!(
            "{lines} lines: {recorded} recorded, {repeated} repeated (recorded before), {rejected} rejected"
        ));
        for group in list.groups() {
            output::say(format!("  {}", group.sentence()));
        }
        if let Some(line) = stopped_at {
            output::say(format!(
                "stopped before line {line}: what comes before it is recorded or listed; go on with that line, or run the \
                 same command again if it reads a file"
            ));
        }
    }
    Ok(match stopped_at {
        Some(_) => ExitCode::FAILURE,
        None if counts.rejected > 0 => ExitCode::from(NEEDS_A_PERSON),
        None => ExitCode::SUCCESS,
    })
}

struct Import<'a> {
    database: &'a Database,
    list: &'a mut List,
    counts: Counts,
    batch: Vec<(u64, NewStatus)>,
    refusals: Refusals,
    /// The last line that was taken.
    last: u64,
    /// Up to here every line is recorded or listed.
    done: u64,
    /// When the first line was taken that is not done.
    since: Option<Instant>,
}

impl Import<'_> {
    /// Reads to the end, or to where a person or a supervisor stops it: then that is the next line. What was read until
    /// then is recorded.
    async fn read(&mut self, file: Box<dyn Read + Send>, bar: &ProgressBar) -> anyhow::Result<Option<u64>> {
        let (stop, _listening) = stop_on_interrupt();
        let mut chunks = lines::read(file, stop.clone());
        let mut is_ended = false;
        while !is_ended {
            let due = self.since.map(|since| since + FLUSH_AFTER);
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            // what waits in a pipe that nothing comes through is not waited for
            let quiet = async {
                stop.cancelled().await;
                tokio::time::sleep(QUIET).await;
            };
            tokio::select! {
                biased;
                chunk = chunks.recv() => match chunk {
                    Some(chunk) => self.take_all(chunk?).await?,
                    None => is_ended = true,
                },
                () = wait => self.record().await?,
                () = quiet => is_ended = true,
            }
            bar.set_message(format!(
                "{} recorded, {} repeated, {} rejected",
                self.counts.recorded, self.counts.repeated, self.counts.rejected
            ));
        }
        self.record().await?;
        Ok(stop.is_cancelled().then_some(self.done + 1))
    }

    async fn take_all(&mut self, chunk: Vec<Line>) -> anyhow::Result<()> {
        for line in chunk {
            self.last += 1;
            self.since.get_or_insert_with(Instant::now);
            self.take(self.last, line)?;
            if self.batch.len() >= BATCH || self.last.is_multiple_of(10_000) {
                self.record().await?;
            }
        }
        Ok(())
    }

    fn take(&mut self, number: u64, line: Line) -> anyhow::Result<()> {
        let read = match &line {
            Line::Whole(line) if line.trim_ascii().is_empty() => return Ok(()),
            Line::Whole(line) => track::status_from_line(line.trim_ascii()),
            Line::TooLong => Err(Malformed {
                field: None,
                rule: Rule::Json,
                reason: format!("has more than {} bytes", super::bounded::RECORD_MAX),
            }),
        };
        self.counts.lines += 1;
        match read {
            Ok(status) => self.batch.push((number, status)),
            Err(wrong) => {
                self.refusals.malformed(&wrong);
                self.reject(number, wrong.field.unwrap_or("(line)"), wrong.reason)?;
            }
        }
        Ok(())
    }

    fn reject(&mut self, line: u64, field: &str, reason: String) -> anyhow::Result<()> {
        self.counts.rejected += 1;
        self.list.add(&Listed { line, kind: Kind::Rejected, field: field.to_owned(), reason, event_id: None })
    }

    /// Records what is there in a transaction of its own. Where it met another one or the database went away, it waits
    /// and does the same again: dated messages are not recorded twice.
    async fn record(&mut self) -> anyhow::Result<()> {
        let (lines, statuses): (Vec<u64>, Vec<NewStatus>) = std::mem::take(&mut self.batch).into_iter().unzip();
        let verdicts = if statuses.is_empty() { Vec::new() } else { self.recorded(&statuses).await? };
        for (line, verdict) in lines.into_iter().zip(verdicts) {
            match verdict {
                Tracked::Recorded => self.counts.recorded += 1,
                Tracked::Repeated => self.counts.repeated += 1,
                Tracked::Refused(refused) => {
                    self.refusals.refused(&refused);
                    self.reject(line, refused.field.as_deref().unwrap_or(&refused.code), refused.message.clone())?;
                }
            }
        }
        self.list.flush()?;
        // they are listed either way: an import does not end because they cannot be counted
        if let Err(error) = track::count(self.database, Door::Import, &std::mem::take(&mut self.refusals)).await {
            tracing::warn!(%error, "refusals were not counted");
        }
        (self.done, self.since) = (self.last, None);
        Ok(())
    }

    async fn recorded(&self, statuses: &[NewStatus]) -> anyhow::Result<Vec<Tracked>> {
        let mut tries = 1;
        loop {
            match once(self.database, statuses).await {
                Err(error) if error.is_transient() && tries < super::run::TRIES => {
                    tracing::warn!(%error, tries, "a batch is recorded again");
                    self.database.wait(super::run::PATIENCE).await?;
                    tries += 1;
                }
                result => {
                    return result.with_context(|| format!("nothing after line {} is recorded", self.done));
                }
            }
        }
    }
}

async fn once(database: &Database, statuses: &[NewStatus]) -> Result<Vec<Tracked>, outbox::Error> {
    let mut client = database.client().await?;
    let transaction = outbox::begin(&mut client).await?;
    let verdicts = track::track_batch(&transaction, statuses).await?;
    transaction.commit().await?;
    Ok(verdicts)
}
