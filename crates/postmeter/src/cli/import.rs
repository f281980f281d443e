//! `postmeter import`: usage from files, and from Prometheus.
//!
//! Stopping anywhere is harmless and running again records nothing twice: every batch is a transaction of its own, and
//! the identity of a row's usage (source and event id) is always the same.

mod exponents;
mod focus;
mod list;
mod prometheus;
mod requests;
mod run;
mod tally;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Context;
use super::output::{self, NEEDS_A_PERSON, Wrong};
use crate::focus::bounded;
use list::Sink;
pub(super) use tally::Sum;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum Format {
    /// Billing exports in the FinOps standard FOCUS (1.0 to 1.3): CSV, also compressed by gzip, or Parquet.
    ///
    /// Org is SubAccountId, product the tag of ServiceName, metric the tag of ConsumedUnit; a row counts at its
    /// ChargePeriodStart (UTC), a daily row at its first hour. Rows that agree in the identifying columns (who, what,
    /// where, when) are one usage, over all files of the command, and their quantities are added up. Importing again adds
    /// nothing, whatever became of costs, order and files; another quantity for what is known is listed, and recorded
    /// with --apply-differences. What was not used is skipped, what a person has to see is refused: both are listed.
    /// Give all files of a period in one command.
    Focus(Box<focus::FocusArgs>),
    /// What services said about requests, one JSON object a line.
    ///
    /// Each has service, request_id and status, and may have date, source, status_msg, account, org, inventory_id and
    /// system_id. Lines that are no such message are listed and not recorded. Run it again after a stop: a message with
    /// a date is not recorded twice; one without is dated now, each time.
    Requests(RequestsArgs),
    /// Usage of whole hours, from the samples of a gauge or a counter in a Prometheus.
    ///
    /// The samples of the series that a selector names are weighed by time: what was scraped counts for as long as it was
    /// so, an org's series are summed up, and gaps count for nothing and are listed. The event id is made of the hour, the
    /// recipe and the labels that make the org: reading the same hours again records nothing twice. A value that differs
    /// from what was recorded is listed and changes nothing, and an hour that was recorded under another recipe is
    /// refused. Only hours that are over by the lag are read. See docs/integrate/prometheus.md.
    Prometheus(Box<prometheus::PrometheusArgs>),
}

#[derive(Debug, clap::Args)]
struct RequestsArgs {
    /// The file; - is standard input.
    file: PathBuf,
    /// Write the full list of lines that were not recorded to this file (CSV) instead of standard error.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

/// A time on the command line: RFC 3339, or without a zone, which means UTC; the time of day may be left out.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    crate::focus::time::time(text, None).map_err(|error| format!("{error:#}"))
}

fn shift(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|_| format!("{text:?} is no duration such as 17520h or 730d"))?;
    let shift = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    let is_whole = shift.as_secs() % 3600 == 0 && shift.subsec_nanos() == 0;
    if is_whole { Ok(shift) } else { Err(format!("{text} is not a whole number of hours")) }
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    match args.format {
        Format::Focus(args) => focus::run(context, &args).await,
        Format::Requests(args) => requests::run(context, &args).await,
        Format::Prometheus(args) => prometheus::run(context, &args).await,
    }
}

/// The file and its size, if it has one.
fn open(path: &Path) -> anyhow::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let wrong = |error: io::Error| Wrong(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(wrong)?;
    let about = file.metadata().map_err(wrong)?;
    if about.is_dir() {
        return Err(Wrong(format!("{} is a folder", path.display())).into());
    }
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

/// A bar on a terminal; nothing elsewhere.
fn bar(size: Option<u64>) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:30} {percent:>3}%  {bytes} of {total_bytes}, {eta} left  {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} in {elapsed}  {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the template is right"))
}

fn sink(rejects: Option<&Path>, bar: &ProgressBar) -> anyhow::Result<Sink> {
    Ok(match rejects {
        Some(path) => {
            let file = File::create(path).map_err(|error| Wrong(format!("{}: {error}", path.display())))?;
            Sink::File(Box::new(csv::Writer::from_writer(Box::new(file))))
        }
        None => Sink::People(Box::new(BesideBar(bar.clone()))),
    })
}

/// Standard error, with the bar out of the way while a line is written.
struct BesideBar(ProgressBar);

impl Write for BesideBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The first Ctrl-C, or a SIGTERM, ends the import after what it has read, with its summary; the second ends it at once,
/// which is harmless too.
fn stop_on_interrupt() -> (CancellationToken, AbortOnDropHandle<()>) {
    let stop = CancellationToken::new();
    let told = stop.clone();
    let listening = tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut end)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        for turn in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = end.recv() => {}
            }
            if turn == 0 { told.cancel() } else { std::process::exit(130) }
        }
    });
    (stop, AbortOnDropHandle::new(listening))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_is_whole_hours() {
        assert_eq!(shift("17520h"), Ok(SignedDuration::from_hours(17_520)));
        assert_eq!(shift("730d"), Ok(SignedDuration::from_hours(17_520)));
        assert_eq!(shift("-2h"), Ok(SignedDuration::from_hours(-2)));
        assert!(shift("90m").is_err() && shift("soon").is_err() && shift("1 month").is_err());
    }

    #[test]
    fn a_time_of_the_command_line_is_utc_unless_it_says_otherwise() {
        assert_eq!(moment("2024-09-18 22:00"), moment("2024-09-18T22:00:00Z"));
        assert_eq!(moment("2024-09-18"), moment("2024-09-18T00:00:00Z"));
        assert_eq!(moment("2024-09-18T22:00:00+02:00"), moment("2024-09-18T20:00:00Z"));
        assert!(moment("yesterday").is_err());
    }
}
