//! The loop of an import: rows are read one at a time and recorded in batches.

use std::io::Read;
use std::time::Duration;

use anyhow::Context as _;
use csv::{ByteRecord, StringRecord};
use indicatif::ProgressBar;
use outbox::{Database, NewUsage, Verdict};

use super::bounded::{Bounded, Progress};
use super::list::List;
use super::row::{Kind, Listed, Places, Row, Rules, read, unreadable};
use super::tally::Tally;
use crate::cli::output::Wrong;
use crate::focus;

/// Usages of one transaction; also rows of the list that wait for it, so that the list is in order of lines.
pub(super) const BATCH: usize = 500;

/// How often a batch is tried when it meets another transaction or the database goes away.
pub(super) const TRIES: u32 = 5;

/// How long each time the database is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What an import did.
#[derive(Debug)]
pub(in crate::cli) struct Imported {
    /// The counts.
    pub tally: Tally,
    /// A person stopped it before this line.
    pub stopped_at: Option<u64>,
}

/// Reads `file` and records its usage; what is not recorded goes to `list`.
///
/// # Errors
/// The file cannot be read or is no FOCUS export; the database does not come back; the list cannot be written. What was
/// recorded until then stays recorded.
pub(in crate::cli) async fn import(
    database: &Database,
    file: impl Read,
    rules: &Rules,
    list: &mut List,
    bar: &ProgressBar,
) -> anyhow::Result<Imported> {
    let progress = Progress::default();
    let rows = focus::rows(Bounded::new(file, progress.clone())).map_err(|error| Wrong(format!("{error:#}")))?;
    let mut reader = rows.into_reader();
    let headers = reader.headers().context("the first line")?.clone();
    let places = Places::of(&headers);
    let behind = lines_behind(&headers, reader.position());
    let (stop, _listening) = super::stop_on_interrupt();
    let mut batch = Batch { database, list, tally: Tally::default(), usages: Vec::new(), listed: Vec::new() };
    let mut record = ByteRecord::new();
    let (mut stopped_at, mut rows) = (None, 0_usize);
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line) + behind;
                batch.take(row(&record, &headers, places, line, rules), line);
            }
            Err(error) => batch.listed.push(damaged(error, behind)?),
        }
        progress.record_is_whole();
        rows += 1;
        if batch.is_full() || rows % BATCH == 0 {
            if batch.is_full() {
                batch.record().await?;
            }
            bar.set_position(reader.position().byte());
            bar.set_message(batch.message());
            if stop.is_cancelled() {
                stopped_at = Some(reader.position().line() + behind);
                break;
            }
        }
    }
    batch.record().await?;
    Ok(Imported { tally: batch.tally, stopped_at })
}

/// How many lines the reader is behind at the beginning of a record: in a file whose lines end in CR LF it has not
/// seen the LF of the line before. Where a file mixes both, a line may be off by one.
fn lines_behind(headers: &StringRecord, after_headers: &csv::Position) -> u64 {
    let inside = headers.iter().flat_map(str::bytes).filter(|byte| *byte == b'\n').count() as u64;
    (2 + inside).saturating_sub(after_headers.line())
}

fn row(record: &ByteRecord, headers: &StringRecord, places: Places, line: u64, rules: &Rules) -> Row {
    match StringRecord::from_byte_record(record.clone()) {
        Ok(text) => read(&text, headers, places, line, rules),
        Err(error) => Row::Listed(unreadable(line, &format!("is not UTF-8: {}", error.utf8_error()))),
    }
}

/// A row that is damaged in itself is listed; a file that cannot be read ends the import.
fn damaged(error: csv::Error, behind: u64) -> anyhow::Result<Listed> {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line) + behind;
            Ok(unreadable(line, &format!("has {len} columns, and the first line {expected_len}")))
        }
        _ => Err(Wrong(format!("the file cannot be read on: {error}")).into()),
    }
}

/// Rows on their way into one transaction.
struct Batch<'a> {
    database: &'a Database,
    list: &'a mut List,
    tally: Tally,
    usages: Vec<(u64, NewUsage)>,
    listed: Vec<Listed>,
}

impl Batch<'_> {
    fn take(&mut self, row: Row, line: u64) {
        match row {
            Row::Usage(usage) => self.usages.push((line, *usage)),
            Row::Listed(listed) => self.listed.push(listed),
            Row::Outside => self.tally.outside += 1,
        }
    }

    fn is_full(&self) -> bool {
        self.usages.len() >= BATCH || self.listed.len() >= BATCH
    }

    /// Records what is there, in a transaction of its own, and lists what is not recorded.
    async fn record(&mut self) -> anyhow::Result<()> {
        let (lines, usages): (Vec<u64>, Vec<NewUsage>) = std::mem::take(&mut self.usages).into_iter().unzip();
        let verdicts =
            if usages.is_empty() { Vec::new() } else { record_patiently(self.database, &usages, true).await? };
        for ((line, usage), verdict) in lines.into_iter().zip(usages).zip(verdicts) {
            match verdict {
                Verdict::Recorded(_) => self.tally.take(&usage.product, &usage.metric, usage.quantity, true),
                Verdict::Repeated(_) => self.tally.take(&usage.product, &usage.metric, usage.quantity, false),
                Verdict::Refused(refused) => self.listed.push(Listed {
                    line,
                    kind: Kind::Rejected,
                    field: refused.field.clone().unwrap_or_else(|| refused.code.clone()),
                    reason: refused.to_string(),
                    event_id: Some(usage.event_id),
                    of: (usage.product, usage.metric),
                }),
            }
        }
        self.listed.sort_by_key(|listed| listed.line);
        for listed in self.listed.drain(..) {
            self.tally.list(&listed);
            self.list.add(&listed)?;
        }
        Ok(())
    }

    fn message(&self) -> String {
        let total = &self.tally.total;
        let listed = total.rejected + total.corrections + total.not_usage;
        format!("{} recorded, {} repeated, {listed} listed", total.recorded, total.repeated)
    }
}

/// Records a batch; where the transaction met another one or the database went away, it waits and does the same again,
/// which records nothing twice. Without `keep` it tells the verdicts and leaves nothing behind.
pub(super) async fn record_patiently(
    database: &Database,
    usages: &[NewUsage],
    keep: bool,
) -> anyhow::Result<Vec<Verdict>> {
    let mut tries = 1;
    loop {
        match record_once(database, usages, keep).await {
            Err(error) if error.is_passing() && tries < TRIES => {
                tracing::warn!(%error, tries, "a batch is recorded again");
                database.wait(PATIENCE).await?;
                tries += 1;
            }
            result => return Ok(result?),
        }
    }
}

async fn record_once(database: &Database, usages: &[NewUsage], keep: bool) -> Result<Vec<Verdict>, outbox::Error> {
    let mut client = database.client().await?;
    let transaction = outbox::begin(&mut client).await?;
    let verdicts = outbox::record_usages(&transaction, usages).await?;
    if keep {
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a7_lines_are_counted_from_one_however_they_end() {
        for (head, end) in [("a,b", "\n"), ("a,b", "\r\n"), ("a,\"b\nc\"", "\n"), ("a,\"b\nc\"", "\r\n")] {
            let file = format!("{head}{end}1,2{end}3,4{end}");
            let mut reader = csv::Reader::from_reader(file.as_bytes());
            let headers = reader.headers().unwrap().clone();
            let behind = lines_behind(&headers, reader.position());
            let lines: Vec<u64> =
                reader.records().map(|record| record.unwrap().position().unwrap().line() + behind).collect();
            let first = 2 + u64::from(head.contains('\n'));
            assert_eq!(lines, [first, first + 1], "{file:?}");
        }
    }
}
