//! `postmeter import requests`: what services said, from a file of one JSON object a line.

use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;

use anyhow::Context as _;
use indicatif::ProgressBar;
use outbox::Database;
use outbox::track::{NewStatus, Tracked};
use serde::Serialize;
use serde_json::json;

use super::bounded::RECORD_MAX;
use super::list::{Kind, List, Listed};
use super::{NEEDS_A_PERSON, RequestsArgs, bar, open, output, sink, stop_on_interrupt};
use crate::cli::Context;
use crate::cli::output::Wrong;

/// Messages of one transaction.
const BATCH: usize = 500;

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
    let mut import = Import { database: &database, list: &mut list, counts: Counts::default(), batch: Vec::new() };
    let stopped_at = import.read(BufReader::new(file), &bar).await;
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
            output::say(format!("stopped before line {line}; run the same command again to go on"));
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
}

impl Import<'_> {
    /// Reads to the end, or to where a person stops it; then that is the next line.
    async fn read(&mut self, mut file: impl BufRead, bar: &ProgressBar) -> anyhow::Result<Option<u64>> {
        let (stop, _listening) = stop_on_interrupt();
        let (mut line, mut bytes) = (Vec::new(), 0);
        let mut number = 0;
        loop {
            line.clear();
            let count = (&mut file).take(RECORD_MAX + 1).read_until(b'\n', &mut line).context("the file")?;
            if count == 0 {
                break;
            }
            if count as u64 > RECORD_MAX {
                return Err(Wrong(format!("line {} has more than 1 MiB", number + 1)).into());
            }
            number += 1;
            bytes += count as u64;
            self.take(number, line.trim_ascii())?;
            if self.batch.len() >= BATCH || number % 10_000 == 0 {
                self.record().await?;
                bar.set_position(bytes);
                bar.set_message(format!(
                    "{} recorded, {} repeated, {} rejected",
                    self.counts.recorded, self.counts.repeated, self.counts.rejected
                ));
                if stop.is_cancelled() {
                    return Ok(Some(number + 1));
                }
            }
        }
        self.record().await?;
        Ok(None)
    }

    fn take(&mut self, number: u64, line: &[u8]) -> anyhow::Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        self.counts.lines += 1;
        let Ok(text) = std::str::from_utf8(line) else {
            return self.reject(number, "(line)", "is not UTF-8".to_owned());
        };
        match NewStatus::from_json(text) {
            Ok(status) => self.batch.push((number, status)),
            Err(wrong) => self.reject(number, wrong.field.unwrap_or("(line)"), wrong.reason)?,
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
        if statuses.is_empty() {
            return Ok(());
        }
        let mut tries = 1;
        let verdicts = loop {
            match once(self.database, &statuses).await {
                Err(error) if error.is_passing() && tries < super::run::TRIES => {
                    tracing::warn!(%error, tries, "a batch is recorded again");
                    self.database.wait(super::run::PATIENCE).await?;
                    tries += 1;
                }
                result => break result?,
            }
        };
        for (line, verdict) in lines.into_iter().zip(verdicts) {
            match verdict {
                Tracked::Recorded => self.counts.recorded += 1,
                Tracked::Repeated => self.counts.repeated += 1,
                Tracked::Refused(refused) => {
                    self.reject(line, refused.field.as_deref().unwrap_or(&refused.code), refused.message.clone())?;
                }
            }
        }
        Ok(())
    }
}

async fn once(database: &Database, statuses: &[NewStatus]) -> Result<Vec<Tracked>, outbox::Error> {
    let mut client = database.client().await?;
    let transaction = outbox::begin(&mut client).await?;
    let verdicts = outbox::track::track_batch(&transaction, statuses).await?;
    transaction.commit().await?;
    Ok(verdicts)
}
